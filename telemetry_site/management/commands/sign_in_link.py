"""`manage.py sign_in_link [USERNAME]`"""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from accounts.models import User
from telemetry_site.operations.first_start import ADMINISTRATOR, sign_in_link


class Command(BaseCommand):
    help = "Print a link that signs a user in once, within an hour."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username", nargs="?", default=ADMINISTRATOR)

    def handle(self, *, username: str, **options: Any) -> str:
        user = User.objects.get_by_login(username)
        if user is None or not user.is_active:
            raise CommandError(f"There is no active user called {username}.")
        return sign_in_link(user, now=timezone.now())
