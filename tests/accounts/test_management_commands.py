from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from accounts.mfa import services as mfa
from tests.factories import second_factor_of


def test_who_has_lost_everything_is_let_in_from_the_command_line(owner):
    second_factor_of(owner, now=timezone.now())
    out = StringIO()
    call_command("switch_off_second_factor", "Owner@example.org", stdout=out)
    assert "owner signs in without a code." in out.getvalue()
    assert not mfa.is_enabled(owner)


@pytest.mark.parametrize("name", ["owner", "nobody"])
def test_where_there_is_nothing_to_switch_off_it_says_so(owner, name):
    with pytest.raises(CommandError):
        call_command("switch_off_second_factor", name)
