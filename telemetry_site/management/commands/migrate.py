"""`manage.py migrate`, also while the site runs: it retries after a lock timeout."""

from time import sleep
from typing import Any

from django.core.management.commands import migrate
from django.db import OperationalError
from psycopg import errors

PAUSES = (1, 2, 4, 8, 16, 32)
"""Seconds between attempts; together longer than the longest request."""


class Command(migrate.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        # Each applied migration is recorded, so the next attempt continues after it.
        for pause in PAUSES:
            try:
                super().handle(*args, **options)
                return
            except OperationalError as error:
                if not isinstance(error.__cause__, errors.LockNotAvailable):
                    raise
                self.stdout.write(f"A table is in use; trying again in {pause} s")
            sleep(pause)
        super().handle(*args, **options)
