"""How the readings of a file get into a device: in batches, each stored or not as a whole."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from django.db import connection, reset_queries
from django.utils import timezone

from common import quotas
from devices.models import Device
from telemetry.ingest import storage
from telemetry.ingest.validation import Reading
from telemetry.transfer.import_parser import RejectedRow, UnreadableFile

BATCH = 1000
"""Rows that are stored at once."""
MAX_REPORTED = 100
"""Refused rows that are kept to be named; a file may have millions."""
DISK_FULL = "The disk is full. Import the file again once there is room."


@dataclass(slots=True)
class ImportResult:
    """What became of the rows of a file; of a dry run, what would have."""

    accepted: int = 0
    duplicates: int = 0
    refused: int = 0
    shown: list[RejectedRow] = field(default_factory=list)
    """The first ones that were refused."""
    stopped: str = ""
    """Why the rest of the file was not read."""


def import_rows(
    device: Device,
    rows: Iterator[Reading | RejectedRow],
    *,
    dry_run: bool = False,
    after_batch: Callable[[], object] = lambda: None,
) -> ImportResult:
    """Store the rows of a file and tell what became of them.

    A dry run counts a reading as new as often as it is in the file. When the disk fills up in the
    middle, the rest is not read. Raises ingest.DeviceGone, and quotas.DiskFull if nothing of the
    file is stored.
    """
    tally = ImportResult()
    for batch in _batches(rows, tally):
        if batch and dry_run:
            known = _count_existing(device, batch)
            tally.accepted += len(batch) - known
            tally.duplicates += known
        elif batch:
            try:
                stored = storage.store(device, batch, now=timezone.now(), contact=False)
            except quotas.DiskFull:
                if not (tally.accepted or tally.duplicates):
                    raise
                tally.stopped = DISK_FULL
                break
            tally.accepted += stored.accepted
            tally.duplicates += stored.duplicates
            # With DEBUG on, Django would keep the text of every statement.
            reset_queries()
        after_batch()
    return tally


def _batches(rows: Iterator[Reading | RejectedRow], tally: ImportResult) -> Iterator[list[Reading]]:
    """The readings of BATCH rows at a time; the rows that are none are tallied."""
    batch: list[Reading] = []
    try:
        for number, row in enumerate(rows, 1):
            if isinstance(row, Reading):
                batch.append(row)
            else:
                tally.refused += 1
                if len(tally.shown) < MAX_REPORTED:
                    tally.shown.append(row)
            if number % BATCH == 0:
                yield batch
                batch = []
    except UnreadableFile as error:
        tally.stopped = str(error)
    yield batch


def _count_existing(device: Device, batch: list[Reading]) -> int:
    """How many of the readings are stored already."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT count(*) FROM unnest(%(ids)s::uuid[], %(times)s::timestamptz[]) AS sent(id, time)
            WHERE EXISTS (
                SELECT FROM telemetry WHERE device_id = %(device)s
                    AND recorded_at BETWEEN %(first)s AND %(last)s
                    AND recorded_at = sent.time AND telemetry.id = sent.id
            )
            """,
            {
                "device": device.pk,
                "ids": [reading.id for reading in batch],
                "times": [reading.recorded_at for reading in batch],
                "first": min(reading.recorded_at for reading in batch),
                "last": max(reading.recorded_at for reading in batch),
            },
        )
        return int(cursor.fetchone()[0])
