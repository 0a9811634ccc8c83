"""`manage.py backup FILE`"""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from telemetry_site.operations import backup


class Command(BaseCommand):
    help = "Write a backup of everything to a new file. The site may run meanwhile."

    def add_arguments(self, parser: ArgumentParser) -> None:
        help = "{date} in its name is replaced by today's date."
        parser.add_argument("file", type=Path, help=help)

    def handle(self, *, file: Path, **options: Any) -> str:
        now = timezone.now()
        file = file.with_name(file.name.replace("{date}", f"{now:%Y-%m-%d}"))
        try:
            backup.create_backup(file, now=now)
        except (backup.BackupFailed, OSError) as error:
            raise CommandError(str(error)) from error
        return f"{file} contains everything, also the secret key of the site. Keep it safe."
