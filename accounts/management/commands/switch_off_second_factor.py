"""`manage.py switch_off_second_factor USERNAME`"""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts.mfa import services as mfa
from accounts.models import User


class Command(BaseCommand):
    help = "Disable two-factor authentication of a user who has lost phone and recovery codes."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username")

    def handle(self, *, username: str, **options: Any) -> str:
        user = User.objects.get_by_login(username)
        if user is None:
            raise CommandError(f"There is no user called {username}.")
        if not mfa.is_enabled(user):
            raise CommandError(f"{user} has no two-factor authentication.")
        mfa.disable(user)
        return f"Two-factor authentication of {user} is disabled."
