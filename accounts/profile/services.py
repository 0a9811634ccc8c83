"""The profile: username, time zone, language."""

from django.db import IntegrityError, transaction

from accounts.audit import log as audit
from accounts.models import User
from accounts.registration import activation

EDITABLE_FIELDS = ("username", "time_zone", "language")


def update_profile(user: User, **values: str) -> None:
    """Change some of EDITABLE_FIELDS.

    Raises ValidationError, and AccessEnded if access was revoked meanwhile, for example by the
    deletion of the account.
    """
    before = {name: getattr(user, name) for name in EDITABLE_FIELDS}
    changed = [name for name in EDITABLE_FIELDS if values.get(name, before[name]) != before[name]]
    for name in changed:
        setattr(user, name, values[name])
    if "username" in changed:
        activation.validate_username(user)
    unchanged = [field.name for field in User._meta.fields if field.name not in changed]
    user.clean_fields(exclude=unchanged)
    after = {name: getattr(user, name) for name in EDITABLE_FIELDS}
    with transaction.atomic():
        User.objects.lock(user)
        _save(user, changed)
        audit.record("user.changed", target=user, before=before, after=after)


def _save(user: User, changed: list[str]) -> None:
    """Store the fields. Raises ValidationError if another user has got the username meanwhile."""
    try:
        with transaction.atomic():
            user.save(update_fields=[*changed, "updated_at"])
    except IntegrityError:
        if "username" not in changed:
            raise
        raise activation.username_taken() from None
