"""Import readings into a device in batches; each batch is stored completely or not at all."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from django.db import connection, reset_queries
from django.utils import timezone

from common import quotas
from devices.models import Device
from telemetry.ingest import storage
from telemetry.ingest.validation import ParsedReading
from telemetry.transfer.import_layout import UnreadableFile
from telemetry.transfer.import_parser import RejectedRow

BATCH_SIZE = 1000
"""Number of rows that are stored at once."""
MAX_REPORTED = 100
"""Number of rejected rows that are reported; a file may have millions."""
DISK_FULL = "The disk is full. Free some space, then import the file again."


@dataclass(slots=True)
class ImportResult:
    """Counts of the rows of a file; for a dry run, the counts that an import would have."""

    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0
    reported: list[RejectedRow] = field(default_factory=list)
    """The first rejected rows."""
    error: str = ""
    """Why the rest of the file was not read; empty if it was."""


def import_rows(
    device: Device,
    rows: Iterator[ParsedReading | RejectedRow],
    *,
    dry_run: bool = False,
    after_batch: Callable[[], object] = lambda: None,
) -> ImportResult:
    """Store the rows of a file and return the counts.

    A dry run counts a new reading each time it occurs in the file. If the disk becomes full, the
    rest is not read. Raises storage.DeviceDeleted, and quotas.DiskFull if no reading of the file is
    stored.
    """
    result = ImportResult()
    for batch in _batches(rows, result):
        if batch and dry_run:
            known = _count_existing(device, batch)
            result.accepted += len(batch) - known
            result.duplicates += known
        elif batch:
            try:
                stored = storage.store(device, batch, now=timezone.now(), contact=False)
            except quotas.DiskFull:
                if not (result.accepted or result.duplicates):
                    raise
                result.error = DISK_FULL
                break
            result.accepted += stored.accepted
            result.duplicates += stored.duplicates
            # With DEBUG on, Django stores the text of every statement.
            reset_queries()
        after_batch()
    return result


def _batches(
    rows: Iterator[ParsedReading | RejectedRow], result: ImportResult
) -> Iterator[list[ParsedReading]]:
    """Yield the readings of BATCH_SIZE rows at a time; count the rejected rows in `result`."""
    batch: list[ParsedReading] = []
    try:
        for number, row in enumerate(rows, 1):
            if isinstance(row, ParsedReading):
                batch.append(row)
            else:
                result.rejected += 1
                if len(result.reported) < MAX_REPORTED:
                    result.reported.append(row)
            if number % BATCH_SIZE == 0:
                yield batch
                batch = []
    except UnreadableFile as error:
        result.error = str(error)
    yield batch


def _count_existing(device: Device, batch: list[ParsedReading]) -> int:
    """Return how many of the readings are already stored."""
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
