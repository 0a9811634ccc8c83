from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from accounts.mfa import services as mfa
from tests.factories import enable_mfa


def test_the_command_disables_mfa_of_a_user_by_email(owner):
    enable_mfa(owner, now=timezone.now())
    out = StringIO()
    call_command("switch_off_second_factor", "Owner@example.org", stdout=out)
    assert "Two-factor authentication of owner is disabled." in out.getvalue()
    assert not mfa.is_enabled(owner)


@pytest.mark.parametrize("name", ["owner", "unknown"])
def test_the_command_fails_without_such_a_user_or_without_mfa(owner, name):
    with pytest.raises(CommandError):
        call_command("switch_off_second_factor", name)
