"""Rebuild the hourly and daily rollups from the readings."""

import sys
from argparse import ArgumentTypeError
from datetime import UTC, date, datetime, time
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import reset_queries
from tqdm import tqdm

from devices.models import Device
from telemetry.rollups import build as rollups
from telemetry.rollups.build import DAY

HELP = """
Rebuild the hourly and daily rollups for charts from the readings, and register missing keys. The
site can run meanwhile. Only needed if rollups were lost: the worker processes late readings and
upgrades by itself.
"""


def day(text: str) -> datetime:
    """Return midnight UTC of a date."""
    try:
        return datetime.combine(date.fromisoformat(text), time(), UTC)
    except ValueError:
        raise ArgumentTypeError(f"{text} is not a date like 2026-01-31") from None


class Command(BaseCommand):
    help = HELP

    def add_arguments(self, parser: CommandParser) -> None:
        add = parser.add_argument
        add("--device", type=UUID, help="id of one device (default: all devices)")
        add(
            "--from",
            type=day,
            dest="start",
            metavar="DATE",
            help="first day, UTC (default: all days)",
        )
        add("--to", type=day, dest="end", metavar="DATE", help="day after the last day, UTC")

    def handle(self, **options: Any) -> None:
        devices = Device.objects.filter(deleted_at=None).order_by("created_at", "pk")
        if options["device"]:
            devices = devices.filter(pk=options["device"])
            if not devices:
                raise CommandError(f"There is no device {options['device']}.")
        spans = [(device, *span(device, options["start"], options["end"])) for device in devices]
        total = sum(max(0, -((start - end) // DAY)) for _, start, end in spans)
        with tqdm(total=total, unit="day", file=sys.stderr, disable=None) as bar:
            for device, start, end in spans:
                while start < end:
                    rollups.rebuild(device, start, min(start + DAY, end))
                    start += DAY
                    bar.update()
                    # With DEBUG on, Django stores the text of every statement.
                    reset_queries()
        self.stdout.write(f"{total:,} days of {len(spans):,} devices rebuilt")


def span(device: Device, start: datetime | None, end: datetime | None) -> tuple[datetime, datetime]:
    """Return the part of the requested span that can be rebuilt."""
    first, last = rollups.covered_span(device)
    return max(first, start or first), min(last, end or last)
