"""Fixtures of the accounts tests."""

from datetime import timedelta

import pyotp
import pytest
from django.utils import timezone

from accounts.models import User
from tests.factories import enable_mfa


@pytest.fixture
def totp(owner: User) -> pyotp.TOTP:
    """The owner's authenticator app, set up two minutes ago."""
    return enable_mfa(owner, now=timezone.now() - timedelta(minutes=2))
