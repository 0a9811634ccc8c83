"""Removes what is over its age, now instead of at night."""

import sys
from collections import Counter
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone
from tqdm import tqdm

from telemetry.retention import apply as expiry

HELP = """
Remove the readings and rollups that the rules of retention no longer keep.

The worker does the same every night. Rules are made in the admin.
"""


class Command(BaseCommand):
    help = HELP

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="say what would go, and end")

    def handle(self, *, dry_run: bool, **options: Any) -> None:
        now = timezone.now()
        preview = expiry.preview(now)
        if not preview.parts:
            self.stdout.write("Everything is kept for ever.")
        for part in preview.parts:
            self.stdout.write(f"of {part.rule}, {part}")
        for one in preview.partitions:
            until = f" to {one.last:%B %Y}" if one.last != one.first else ""
            self.stdout.write(f"{one.first:%B %Y}{until} would go whole")
        if not dry_run:
            self.apply(now, total=sum(part.rows for part in preview.parts))

    def apply(self, now: Any, total: int) -> None:
        gone: Counter[str] = Counter()
        bar = tqdm(total=total, unit="row", unit_scale=True, file=sys.stderr, disable=None)
        with bar:
            for table, rows in expiry.apply(now):
                gone[table] += rows
                bar.update(rows)
        for model, _, kind in expiry.KINDS:
            self.stdout.write(f"{gone[model._meta.db_table]:,} {kind} removed")
