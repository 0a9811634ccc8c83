"""What people tell of themselves."""

from django.db import transaction

from accounts import audit, signup
from accounts.models import User


def change(user: User, *, username: str | None = None, time_zone: str | None = None) -> None:
    """Change what is given. Raises ValidationError."""
    fields = []
    before = {"username": user.username, "time_zone": user.time_zone}
    if username is not None and username != user.username:
        user.username = username
        signup.judge_username(user)
        fields.append("username")
    if time_zone is not None:
        user.time_zone = time_zone
        user.clean_fields(
            exclude=[field.name for field in User._meta.fields if field.name != "time_zone"]
        )
        fields.append("time_zone")
    after = {"username": user.username, "time_zone": user.time_zone}
    with transaction.atomic():
        user.save(update_fields=[*fields, "updated_at"])
        audit.record("user.changed", target=user, before=before, after=after)
