"""`manage.py switch_off_second_factor USERNAME`"""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts import second_factor
from accounts.models import User


class Command(BaseCommand):
    help = "Let somebody sign in without a code, who has lost phone and recovery codes."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username")

    def handle(self, *, username: str, **options: Any) -> str:
        user = User.objects.called(username)
        if user is None:
            raise CommandError(f"There is no user called {username}.")
        if not second_factor.is_on(user):
            raise CommandError(f"{user} has no second factor.")
        second_factor.switch_off(user)
        return f"{user} signs in without a code."
