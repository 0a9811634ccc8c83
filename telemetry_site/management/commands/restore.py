"""`manage.py restore FILE`"""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from telemetry_site.operations import backup


class Command(BaseCommand):
    help = "Restore a backup into an empty database. The site must be stopped."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument(
            "--replace", action="store_true", help="Delete the content of the database first."
        )

    def handle(self, *, file: Path, replace: bool, **options: Any) -> None:
        try:
            replaced = backup.restore(file, replace=replace)
        except (backup.BackupFailed, OSError) as error:
            raise CommandError(str(error)) from error
        for name in replaced:
            self.stdout.write(f"{settings.DATA_DIR / name} is restored from the backup, too.")
        self.stdout.write(
            "Restored. `manage.py migrate` (or make run) updates tables of an older version."
        )
