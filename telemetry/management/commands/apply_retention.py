"""Delete expired rows now instead of at night."""

import sys
from collections import Counter
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone
from tqdm import tqdm

from telemetry.retention import apply as expiry

HELP = """
Delete the readings and rollups that have expired by the retention rules.

The worker does the same every night. Rules are edited in the admin.
"""


class Command(BaseCommand):
    help = HELP

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--dry-run", action="store_true", help="only print what would be deleted"
        )

    def handle(self, *, dry_run: bool, **options: Any) -> None:
        now = timezone.now()
        preview = expiry.preview(now)
        if not preview.parts:
            self.stdout.write("Everything is kept forever.")
        for part in preview.parts:
            self.stdout.write(f"{part.rule}: {part}")
        for partition in preview.partitions:
            until = f" to {partition.last:%B %Y}" if partition.last != partition.first else ""
            self.stdout.write(f"{partition.first:%B %Y}{until}: all readings would be deleted")
        if not dry_run:
            self.apply(now, total=sum(part.rows for part in preview.parts))

    def apply(self, now: Any, total: int) -> None:
        deleted: Counter[str] = Counter()
        with tqdm(total=total, unit="row", unit_scale=True, file=sys.stderr, disable=None) as bar:
            for table, rows in expiry.apply(now):
                deleted[table] += rows
                bar.update(rows)
        for model, _, kind in expiry.KINDS:
            self.stdout.write(f"{deleted[model._meta.db_table]:,} {kind} deleted")
