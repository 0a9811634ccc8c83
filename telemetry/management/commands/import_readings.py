"""Import files of readings into devices."""

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
from devices.models import MAX_EXPECTED_INTERVAL, Device
from telemetry.ingest import storage
from telemetry.ingest.validation import TELEMETRY_TYPE
from telemetry.retention import rules as retention
from telemetry.transfer.import_batches import ImportResult, import_rows
from telemetry.transfer.import_layout import (
    ColumnLayout,
    ExportFormat,
    UnreadableFile,
    detect_layout,
    parse_delimiter,
)
from telemetry.transfer.import_parser import parse_rows

MAX_DISPLAYED = 20
"""Maximum number of rejected rows in a summary, and of devices or users in an error."""
PROGRESS_INTERVAL_SECONDS = 5
"""Interval of the progress lines if stderr is not a terminal."""

IMPORT_ERRORS = (storage.DeviceDeleted, quotas.DiskFull, OSError, UnreadableFile, CommandError)

HELP = """
Import files of readings (CSV or NDJSON). Each file is imported into one device, which is created
if it does not exist.

The first line of CSV has the column names; every other row becomes one reading. The payload has
all columns except the time. In the names of keys, "_" replaces every character except A-Z a-z 0-9
_ and -. Numbers, true and false are stored as such; empty cells, NA, NaN and Inf are skipped; all
other cells are text. If semicolons separate the columns, 21,5 is a number too.

Exports of this site need only --device and --owner.

A reading is identified by its content: equal rows are stored once, different rows with the same
time are all stored, and importing a file again stores only the missing readings.

Exit status: 0 if every row is stored; 1 if a row was rejected or a file could not be read to its
end. All other rows are stored in this case too.
"""
TYPE_HELP = "telemetry type of the readings in every file (default: measurement)"


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """The options for every file; empty values are guessed."""

    owner: User
    device: str
    telemetry_type: str
    time_column: str
    zone: ZoneInfo
    delimiter: str
    dry_run: bool


class ProgressLines:
    """A file for tqdm that writes each state of the progress bar as a line."""

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
        add(
            "--device",
            default="",
            help="id or exact name (default: the file name without its extension)",
        )
        add(
            "--owner",
            default="",
            help="username (default: the only administrator or the only user)",
        )
        add("--type", default="measurement", help=TYPE_HELP)
        add("--time-column", default="", help="name of the column with the time (default: guessed)")
        add(
            "--time-zone", default="UTC", help="time zone of times without an offset (default: UTC)"
        )
        add("--delimiter", default="", help='one character, or "tab" (default: guessed)')
        add("--dry-run", action="store_true", help="check every row, but store nothing")

    def handle(self, *, files: list[str], **options: Any) -> None:
        import_options = ImportOptions(
            owner=find_owner(options["owner"]),
            device=options["device"],
            telemetry_type=checked_type(options["type"]),
            time_column=options["time_column"],
            zone=checked_zone(options["time_zone"]),
            delimiter=checked_delimiter(options["delimiter"]),
            dry_run=options["dry_run"],
        )
        incomplete = [name for name in files if not self.import_file(Path(name), import_options)]
        if incomplete:
            raise CommandError(f"Not imported in full: {', '.join(incomplete)}")

    def import_file(self, path: Path, options: ImportOptions) -> bool:
        """Import one file and print the result; return whether every row is stored."""
        # A file name is bytes; the database and the terminal accept only valid text.
        name = PurePath(os.fsencode(path).decode(errors="replace"))
        now = timezone.now()
        try:
            with path.open("rb") as file:
                layout = detect_layout(
                    file, time_column=options.time_column, delimiter=options.delimiter
                )
                device, is_new = find_or_register(name, layout, options)
                with self.progress(name, path.stat().st_size) as bar:
                    rows = parse_rows(
                        file,
                        layout=layout,
                        device_id=device.pk,
                        telemetry_type=options.telemetry_type,
                        zone=options.zone,
                        now=now,
                        earliest=retention.earliest_allowed(device, now),
                    )
                    result = import_rows(
                        device,
                        rows,
                        dry_run=options.dry_run,
                        after_batch=lambda: bar.update(file.tell() - bar.n),
                    )
        except IMPORT_ERRORS as error:
            self.stderr.write(f"{name.name}: {error_text(error)}")
            return False
        self.stdout.write(f"{name.name}: {summary(result, options)}")
        target = f"into the {'new ' if is_new else ''}device {device.name} ({device.pk})"
        for line in (target, *layout_lines(layout, options), *problem_lines(result)):
            self.stdout.write(f"  {line}")
        return not (result.rejected or result.error)

    def progress(self, name: PurePath, size: int) -> "tqdm[Any]":
        """Return a progress bar over the bytes of a file."""
        on_terminal = self.stderr.isatty()
        # If the terminal size is unknown, tqdm assumes 0 by 0 and draws nothing.
        columns, lines = get_terminal_size()
        return tqdm(
            desc=name.name,
            total=size,
            unit="B",
            unit_scale=True,
            file=sys.stderr if on_terminal else ProgressLines(self.stderr),
            mininterval=0.1 if on_terminal else PROGRESS_INTERVAL_SECONDS,
            ncols=columns - 1 if on_terminal else None,
            nrows=lines,
        )


def error_text(error: Exception) -> str:
    """Return the reason why a file could not be imported."""
    if isinstance(error, storage.DeviceDeleted):
        return "The device was deleted during the import."
    if isinstance(error, quotas.DiskFull):
        return "The disk has less free space than DISK_RESERVE."
    return getattr(error, "strerror", None) or str(error)


def find_or_register(
    file: PurePath, layout: ColumnLayout | ExportFormat, options: ImportOptions
) -> tuple[Device, bool]:
    """Return the owner's device with this id or name, and whether it is new.

    A dry run does not store a new device. Raises CommandError.
    """
    name = options.device or file.stem
    condition, is_id = Q(name=name), False
    with suppress(ValueError):
        condition, is_id = condition | Q(pk=UUID(name)), True
    devices = Device.objects.visible_to(options.owner).filter(condition)[: MAX_DISPLAYED + 1]
    if len(devices) > 1:
        ids = ", ".join(str(device.pk) for device in devices)
        raise CommandError(
            f"Several devices have the name {name}; choose the id with --device: {ids}"
        )
    if devices:
        return devices[0], False
    if is_id:
        raise CommandError(f"{options.owner} has no device {name}.")
    if options.dry_run:
        return Device(user=options.owner, name=name), True
    return register(name, file, layout, options.owner), True


def register(name: str, file: PurePath, layout: ColumnLayout | ExportFormat, owner: User) -> Device:
    """Create a device for the readings of a file. Raises CommandError."""
    fields: dict[str, Any] = {"metadata": {"imported_from": file.name}}
    if isinstance(layout, ColumnLayout) and layout.interval:
        fields["expected_interval"] = min(layout.interval, MAX_EXPECTED_INTERVAL)
    try:
        return device_services.create_device(owner, name=name, **fields)[0]
    except ValidationError as error:
        raise CommandError(
            f"Cannot create the device {name!r}: {' '.join(error.messages)}"
        ) from None
    except quotas.QuotaReached as error:
        reason = f"{owner} has {error.limit} devices, the maximum of {error.setting}."
        raise CommandError(f"Cannot create the device {name!r}: {reason}") from None


def summary(result: ImportResult, options: ImportOptions) -> str:
    stored = "can be stored (dry run)" if options.dry_run else "stored"
    known, rejected = f"{result.duplicates:,} already stored", f"{result.rejected:,} rejected"
    return f"{result.accepted:,} {stored}, {known}, {rejected}"


def problem_lines(result: ImportResult) -> Iterator[str]:
    for row in result.reported[:MAX_DISPLAYED]:
        yield f"rejected line {row.line:,}: {row.reason}"
    if result.rejected > MAX_DISPLAYED:
        yield f"and {result.rejected - MAX_DISPLAYED:,} more"
    if result.error:
        yield f"the rest of the file was not read: {result.error}"


def layout_lines(layout: ColumnLayout | ExportFormat, options: ImportOptions) -> Iterator[str]:
    """Yield lines that describe how the columns were read."""
    if isinstance(layout, ExportFormat):
        yield f"format: export, with {layout.value}"
        return
    time = layout.names[layout.time]
    yield f"type {options.telemetry_type}, time column {time!r}, {options.zone} if it has no offset"
    if layout.numbered:
        yield "skipped the unnamed first column (row number)"
    for index, key in layout.keys.items():
        if key != layout.names[index]:
            yield f"column {layout.names[index]!r} is stored as {key}"


def find_owner(name: str) -> User:
    """Return the user with this name, or the only possible user. Raises CommandError."""
    if name:
        if user := User.objects.get_by_login(name):
            return user
        raise CommandError(f"There is no user called {name!r}.")
    users = User.objects.order_by("username")
    candidates = users.filter(is_superuser=True) or users
    if not candidates:
        raise CommandError("There is no user yet to own a device.")
    if len(candidates) > 1:
        names = ", ".join(user.username for user in candidates[:MAX_DISPLAYED])
        raise CommandError(f"Several users exist; choose one with --owner: {names}")
    return candidates[0]


def checked_type(name: str) -> str:
    if not TELEMETRY_TYPE.fullmatch(name):
        raise CommandError("--type must be 1 to 64 characters from A-Z a-z 0-9 _ -")
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
        raise CommandError('--delimiter must be one character, or "tab"') from None
