"""Pending registrations and invitations: look-up, mails, cancellation, expiry."""

from datetime import datetime, timedelta
from uuid import UUID, uuid4

from django.conf import settings
from django.db import transaction

from accounts.audit import log as audit
from accounts.email import sending, verification
from accounts.models import Registration, User, active_tokens
from accounts.tokens import format as token_format
from accounts.tokens import services as tokens

REGISTRATION_TTL = timedelta(hours=24)
INVITATION_TTL = timedelta(days=7)
VERIFICATION_PREFIX = tokens.PREFIXES[tokens.Scope.EMAIL_VERIFICATION]
INVITATION_PREFIX = "tsi"


class RegistrationClosed(Exception):
    """REGISTRATION_MODE does not allow this registration."""


def may_invite(user: User) -> bool:
    """Return whether the user may invite: staff with the permission to add a registration."""
    return user.is_staff and user.has_perm("accounts.add_registration")


def get_open_registration(token: token_format.TokenOrDigest, *, now: datetime) -> Registration:
    """Return the open registration or invitation of this token.

    An invitation is valid only while its inviter may invite. Raises InvalidToken.
    """
    try:
        digest = token_format.get_digest(token, VERIFICATION_PREFIX, INVITATION_PREFIX)
        registration = Registration.objects.get(active_tokens(now), token_hash=digest)
    except (token_format.MalformedToken, Registration.DoesNotExist):
        raise tokens.InvalidToken from None
    if registration.invited_by and not may_invite(registration.invited_by):
        raise tokens.InvalidToken
    return registration


def check_mode(registration: Registration) -> None:
    """Raise RegistrationClosed unless REGISTRATION_MODE allows it now.

    The mode may have changed since the link was mailed.
    """
    modes = ("open", "invitation") if registration.invited_by_id else ("open",)
    if settings.REGISTRATION_MODE not in modes:
        raise RegistrationClosed


def cancel_registration(registration: Registration) -> None:
    """Delete a registration or an invitation. Its links are then rejected."""
    with transaction.atomic():
        audit.record("user.withdrawn", target=registration)
        Registration.objects.filter(pk=registration.pk).delete()


def send_registration_mail(registration_id: UUID, *, now: datetime) -> None:
    """Mail the link of a registration or an invitation. Links that were mailed before stay valid.

    If a user has verified the e-mail address, mail a notice about the existing account instead.
    """
    registration = Registration.objects.filter(active_tokens(now), pk=registration_id).first()
    if registration is None:
        return
    if registration.invited_by and not may_invite(registration.invited_by):
        return
    if verification.email_is_verified(registration.email):
        verification.send_already_registered(registration.email)
        return
    inviter = registration.invited_by
    secret = token_format.generate(INVITATION_PREFIX if inviter else VERIFICATION_PREFIX)
    if registration.prefix:
        # A link was mailed before: store the new token in a second row.
        registration.pk, registration._state.adding = uuid4(), True
    registration.token_hash, registration.prefix = secret.digest, secret.display_prefix
    registration.save()
    if inviter:
        link, name = sending.build_url("join", secret), inviter.username
        sending.send_email("invitation", to=registration.email, link=link, inviter=name)
    else:
        link, name = sending.build_url("verify-email", secret), registration.username
        sending.send_email("verify_email", to=registration.email, link=link, username=name)


def delete_expired(now: datetime) -> int:
    """Delete expired registrations and invitations; return the number."""
    return Registration.objects.filter(expires_at__lte=now).delete()[0]
