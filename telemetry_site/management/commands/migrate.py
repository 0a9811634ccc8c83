"""`manage.py migrate`, beside a site that runs: what it cannot lock at once, it comes back for."""

from time import sleep
from typing import Any

from django.core.management.commands import migrate
from django.db import OperationalError
from psycopg import errors

PAUSES = (1, 2, 4, 8, 16, 32)
"""Seconds between tries; together longer than any request may take."""


class Command(migrate.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        # What was migrated is noted one by one: the next try goes on from there.
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
