"""Single steps of registrations and e-mail verifications."""

from django.utils import timezone

from accounts.registration import services as registrations
from tests.factories import PASSWORD
from tests.mail import Inbox, secret_of

EMAIL = "ada@example.org"


def register(username="ada", email=EMAIL, password=PASSWORD):
    registrations.register(username, email, password, now=timezone.now())


def mailed_secret(inbox: Inbox, address: str = EMAIL) -> str:
    inbox.deliver()
    return secret_of(inbox.to(address)[-1])


def verify(secret, password=PASSWORD, **given):
    return registrations.verify_email_or_complete(
        secret, password=password, now=timezone.now(), **given
    )
