"""What people tell of themselves."""

from django.db import transaction

from accounts.audit import log as audit
from accounts.models import User
from accounts.registration import services as registrations

EDITABLE_FIELDS = ("username", "time_zone", "language")


def update_profile(user: User, **given: str) -> None:
    """Change what is given, of CHANGEABLE.

    Raises ValidationError, and AccessEnded if access ended meanwhile, such as by closing the
    account.
    """
    before = {name: getattr(user, name) for name in EDITABLE_FIELDS}
    changed = [name for name in EDITABLE_FIELDS if given.get(name, before[name]) != before[name]]
    for name in changed:
        setattr(user, name, given[name])
    if "username" in changed:
        registrations.validate_username(user)
    user.clean_fields(exclude=[one.name for one in User._meta.fields if one.name not in changed])
    after = {name: getattr(user, name) for name in EDITABLE_FIELDS}
    with transaction.atomic():
        User.objects.lock(user)
        user.save(update_fields=[*changed, "updated_at"])
        audit.record("user.changed", target=user, before=before, after=after)
