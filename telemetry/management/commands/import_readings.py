"""Readings from files into devices, as often as one likes."""

import os
import sys
from argparse import RawDescriptionHelpFormatter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath
from shutil import get_terminal_size
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser, OutputWrapper
from django.db.models import Q
from django.utils import timezone
from tqdm import tqdm

from accounts.models import User, validate_time_zone
from common import quotas
from devices import services as device_services
from devices.models import LONGEST_INTERVAL, Device
from telemetry.ingest import storage
from telemetry.ingest.validation import TELEMETRY_TYPE
from telemetry.retention import rules as retention
from telemetry.transfer.import_batches import ImportResult, import_rows
from telemetry.transfer.import_parser import (
    ColumnLayout,
    ExportFormat,
    UnreadableFile,
    detect_layout,
    parse_delimiter,
    parse_rows,
)

SHOWN = 20
"""Refused rows that a summary names; devices and users that an error does."""
PLAIN_INTERVAL = 5
"""Seconds between lines of progress where there is no terminal to draw a bar on."""

HELP = """
Import files of readings, CSV or NDJSON, each into a device that is created when it is missing.

The first line of CSV names the columns, and every row below it becomes one reading. Its payload
holds the columns beside the time under their names, in which "_" stands for all but A-Z a-z 0-9 _
and -. Numbers, true and false are stored as such; empty cells, NA, NaN and Inf are left out; all
else is text. Between semicolons 21,5 is a number too.

What was exported, as CSV with a payload in each row or as NDJSON, needs none of the options below
but --device and --owner.

A reading is what it says: rows that are all alike are one, different rows of one instant are all
kept, and importing a file again stores only what is missing.

Exit status: 0 when every row is stored; 1 when a row was refused or a file could not be read to
its end, and even then all other rows are stored.
"""
TYPE_HELP = "default: measurement, for every file, so that all of a device make one history"


@dataclass(frozen=True, slots=True)
class Wishes:
    """What was asked for of every file; what is empty is guessed."""

    owner: User
    device: str
    telemetry_type: str
    time_column: str
    zone: ZoneInfo
    delimiter: str
    dry_run: bool


class PlainLines:
    """Where a progress bar goes when it cannot be drawn over: each of its states is a line."""

    def __init__(self, out: OutputWrapper) -> None:
        self.out = out

    def write(self, text: str) -> None:
        if line := text.strip():
            self.out.write(line)

    def flush(self) -> None:
        self.out.flush()


class Command(BaseCommand):
    help = HELP

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        kwargs["formatter_class"] = RawDescriptionHelpFormatter
        return super().create_parser(prog_name, subcommand, **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        add = parser.add_argument
        add("files", nargs="+", metavar="FILE")
        add("--device", default="", help="id or exact name (default: the file's, without ending)")
        add("--owner", default="", help="username (default: the only administrator, or only user)")
        add("--type", default="measurement", help=TYPE_HELP)
        add("--time-column", default="", help="name of the column (default: guessed)")
        add("--time-zone", default="UTC", help="of times without an offset (default: UTC)")
        add("--delimiter", default="", help='one character, or "tab" (default: guessed)')
        add("--dry-run", action="store_true", help="read and check every row, store nothing")

    def handle(self, *, files: list[str], **options: Any) -> None:
        wishes = Wishes(
            owner=find_owner(options["owner"]),
            device=options["device"],
            telemetry_type=checked_type(options["type"]),
            time_column=options["time_column"],
            zone=checked_zone(options["time_zone"]),
            delimiter=checked_delimiter(options["delimiter"]),
            dry_run=options["dry_run"],
        )
        incomplete = [name for name in files if not self.import_file(Path(name), wishes)]
        if incomplete:
            raise CommandError(f"Not imported in full: {', '.join(incomplete)}")

    def import_file(self, path: Path, wishes: Wishes) -> bool:
        """Import one file and say what became of it; true when every row is stored."""
        # A name on disk is bytes; neither the database nor a terminal takes them all.
        name = PurePath(os.fsencode(path).decode(errors="replace"))
        now = timezone.now()
        try:
            with path.open("rb") as file:
                layout = detect_layout(
                    file, time_column=wishes.time_column, delimiter=wishes.delimiter
                )
                device, is_new = find_or_register(name, layout, wishes)
                with self.progress(name, path.stat().st_size) as bar:
                    found = parse_rows(
                        file,
                        layout=layout,
                        device_id=device.pk,
                        telemetry_type=wishes.telemetry_type,
                        zone=wishes.zone,
                        now=now,
                        earliest=retention.earliest_allowed(device, now),
                    )
                    tally = import_rows(
                        device,
                        found,
                        dry_run=wishes.dry_run,
                        after_batch=lambda: bar.update(file.tell() - bar.n),
                    )
        except storage.DeviceDeleted:
            self.stderr.write(f"{name.name}: The device was deleted meanwhile.")
            return False
        except quotas.DiskFull:
            self.stderr.write(f"{name.name}: The disk has less room than DISK_RESERVE.")
            return False
        except (OSError, UnreadableFile, CommandError) as error:
            reason = getattr(error, "strerror", None) or error
            self.stderr.write(f"{name.name}: {reason}")
            return False
        self.stdout.write(f"{name.name}: {summary(tally, wishes)}")
        into = f"into the {'new ' if is_new else ''}device {device.name} ({device.pk})"
        for line in (into, *described(layout, wishes), *problems(tally)):
            self.stdout.write(f"  {line}")
        return not (tally.refused or tally.stopped)

    def progress(self, name: PurePath, size: int) -> "tqdm[Any]":
        """A bar over the bytes of a file."""
        on_terminal = self.stderr.isatty()
        # A terminal that does not tell its size has 0 by 0 to tqdm, which then draws nothing.
        columns, lines = get_terminal_size()
        return tqdm(
            desc=name.name,
            total=size,
            unit="B",
            unit_scale=True,
            file=sys.stderr if on_terminal else PlainLines(self.stderr),
            mininterval=0.1 if on_terminal else PLAIN_INTERVAL,
            ncols=columns - 1 if on_terminal else None,
            nrows=lines,
        )


def find_or_register(
    file: PurePath, layout: ColumnLayout | ExportFormat, wishes: Wishes
) -> tuple[Device, bool]:
    """The owner's device of this id or name, and whether it is new; a dry run stores none.

    Raises CommandError.
    """
    name = wishes.device or file.stem
    called, is_id = Q(name=name), False
    with suppress(ValueError):
        called, is_id = called | Q(pk=UUID(name)), True
    found = Device.objects.visible_to(wishes.owner).filter(called)[: SHOWN + 1]
    if len(found) > 1:
        ids = ", ".join(str(device.pk) for device in found)
        raise CommandError(f"Say with --device which one is meant, {name} is the name of: {ids}")
    if found:
        return found[0], False
    if is_id:
        raise CommandError(f"{wishes.owner} has no device {name}.")
    if wishes.dry_run:
        return Device(user=wishes.owner, name=name), True
    return register(name, file, layout, wishes.owner), True


def register(name: str, file: PurePath, layout: ColumnLayout | ExportFormat, owner: User) -> Device:
    """Store a new device for the readings of a file. Raises CommandError."""
    fields: dict[str, Any] = {"metadata": {"imported_from": file.name}}
    if isinstance(layout, ColumnLayout) and layout.interval:
        fields["expected_interval"] = min(layout.interval, LONGEST_INTERVAL)
    try:
        return device_services.create_device(owner, name=name, **fields)[0]
    except ValidationError as error:
        raise CommandError(f"No device {name!r}: {' '.join(error.messages)}") from None
    except quotas.QuotaReached as error:
        reason = f"{owner} has {error.most} devices, as many as {error.setting} allows."
        raise CommandError(f"No device {name!r}: {reason}") from None


def summary(tally: ImportResult, wishes: Wishes) -> str:
    stored = "can be stored, none is (dry run)" if wishes.dry_run else "stored"
    there, refused = f"{tally.duplicates:,} already there", f"{tally.refused:,} refused"
    return f"{tally.accepted:,} {stored}, {there}, {refused}"


def problems(tally: ImportResult) -> Iterator[str]:
    for refused in tally.shown[:SHOWN]:
        yield f"refused line {refused.line:,}: {refused.reason}"
    if tally.refused > SHOWN:
        yield f"and {tally.refused - SHOWN:,} more"
    if tally.stopped:
        yield f"not read to its end: {tally.stopped}"


def described(layout: ColumnLayout | ExportFormat, wishes: Wishes) -> Iterator[str]:
    """How the columns were read."""
    if isinstance(layout, ExportFormat):
        yield f"as readings that were exported: {layout.value}"
        return
    time = layout.names[layout.time]
    yield f"as {wishes.telemetry_type}, timed by {time!r}, in {wishes.zone} where it has no offset"
    if layout.numbered:
        yield "without the first column, a running number that has no name"
    for index, key in layout.keys.items():
        if key != layout.names[index]:
            yield f"with {layout.names[index]!r} as {key}"


def find_owner(name: str) -> User:
    """The user called so; without a name the only one it can be. Raises CommandError."""
    if name:
        if user := User.objects.called(name):
            return user
        raise CommandError(f"There is no user called {name!r}.")
    users = User.objects.order_by("username")
    candidates = users.filter(is_superuser=True) or users
    if not candidates:
        raise CommandError("There is no user yet who could own a device.")
    if len(candidates) > 1:
        names = ", ".join(user.username for user in candidates[:SHOWN])
        raise CommandError(f"Say with --owner whose device it is; there are: {names}")
    return candidates[0]


def checked_type(name: str) -> str:
    if not TELEMETRY_TYPE.fullmatch(name):
        raise CommandError("--type takes 1 to 64 of the characters A-Z a-z 0-9 _ -")
    return name


def checked_zone(name: str) -> ZoneInfo:
    try:
        validate_time_zone(name)
    except ValidationError as error:
        raise CommandError(error.messages[0]) from None
    return ZoneInfo(name)


def checked_delimiter(name: str) -> str:
    try:
        return parse_delimiter(name)
    except ValueError:
        raise CommandError('--delimiter takes one character, or "tab"') from None
