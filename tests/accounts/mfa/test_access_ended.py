"""Changes of two-factor authentication by a request whose access was revoked meanwhile."""

import pytest
from django.utils import timezone

from accounts.mfa import services as mfa
from accounts.models import AccessEnded, User
from accounts.users import access
from tests.factories import enable_mfa


@pytest.mark.parametrize("change", [mfa.disable, mfa.new_recovery_codes])
def test_a_change_after_the_end_of_access_is_rejected(owner, change):
    enable_mfa(owner, now=timezone.now())
    stale = User.objects.get(pk=owner.pk)
    access.end_access(User.objects.get(pk=owner.pk))
    with pytest.raises(AccessEnded):
        change(stale)
    assert mfa.is_enabled(owner)
