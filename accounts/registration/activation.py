"""Creation of users from completed registrations and invitations."""

from datetime import datetime

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from accounts.audit import log as audit
from accounts.email import verification
from accounts.models import Registration, User, active_tokens, equals_ignoring_case, fold
from accounts.passwords import services as passwords
from accounts.tokens import services as tokens


def validate_username(user: User) -> None:
    """Raise ValidationError if the username is invalid or taken."""
    user.clean_fields(
        exclude=[field.name for field in User._meta.fields if field.name != "username"]
    )
    # Counters of sign-ins use `fold`. With the name of another user after `fold`, such as straße
    # and strasse, an attacker could use up that user's attempts.
    if fold(user.username) != user.username.lower():
        message = _("This username contains a special letter, such as ß. Choose another username.")
        raise ValidationError({"username": ValidationError(message, code="ambiguous")})
    # `iexact` compares by UPPER, the unique index by LOWER. No user may match in either.
    if User.objects.filter(username__iexact=user.username).exclude(pk=user.pk).exists():
        raise username_taken()


def validate_new_user(user: User, password: str) -> None:
    """Raise ValidationError if a field of the user or the password is invalid."""
    user.clean_fields(exclude=["password"])
    validate_username(user)
    passwords.validate_password(user, password)


def username_taken() -> ValidationError:
    """Return the error for a username that another user has."""
    return ValidationError(
        {"username": ValidationError(_("This username is taken."), code="taken")}
    )


def create_user(user: User) -> bool:
    """Store a new user. Return False if the username or the verified e-mail address is taken."""
    try:
        with transaction.atomic():
            user.save(force_insert=True)
    except IntegrityError:
        return False
    return True


def activate(registration: Registration, user: User, *, now: datetime) -> User:
    """Create the user of a registration, with a verified e-mail address. Delete the registration.

    Of several concurrent calls, one succeeds. Raises InvalidToken, and ValidationError if the
    username is taken.
    """
    with transaction.atomic():
        if not Registration.objects.filter(active_tokens(now), pk=registration.pk).delete()[0]:
            raise tokens.InvalidToken
        user.email, user.email_verified_at = registration.email, now
        validate_username(user)
        if verification.email_is_verified(user.email):
            raise tokens.InvalidToken
        verification.release_unverified_claims(user.email, user)
        if not create_user(user):
            raise tokens.InvalidToken
        audit.record("user.joined", target=user, actor=user, now=now)
        Registration.objects.filter(equals_ignoring_case("email", user.email)).delete()
    return user
