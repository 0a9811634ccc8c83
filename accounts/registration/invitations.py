"""Invitations: staff invite an e-mail address; the invited user chooses username and password."""

from datetime import datetime

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from accounts.audit import log as audit
from accounts.email import sending, verification
from accounts.models import Registration, User, equals_ignoring_case
from accounts.registration import activation, pending
from accounts.tokens import format as token_format
from accounts.tokens import services as tokens


def invite(inviter: User, email: str, *, now: datetime) -> Registration:
    """Mail an invitation link. It replaces earlier invitations of this e-mail address.

    Raises PermissionDenied, RegistrationClosed and, if a user has verified the e-mail address,
    ValidationError.
    """
    if not pending.may_invite(inviter):
        raise PermissionDenied
    if settings.REGISTRATION_MODE == "closed":
        raise pending.RegistrationClosed
    if verification.email_is_verified(email):
        raise ValidationError({"email": _("This e-mail address already belongs to a user.")})
    with transaction.atomic():
        Registration.objects.filter(
            equals_ignoring_case("email", email), invited_by__isnull=False
        ).delete()
        invitation = Registration.objects.create(
            email=User.objects.normalize_email(email),
            invited_by=inviter,
            expires_at=now + pending.INVITATION_TTL,
            token_hash=token_format.generate(pending.INVITATION_PREFIX).digest,
        )
        audit.record("user.invited", target=invitation, now=now)
        sending.enqueue("registration", invitation.pk)
    return invitation


def accept_invitation(
    token: token_format.TokenOrDigest, *, username: str, password: str, now: datetime
) -> User:
    """Create the invited user.

    Raises InvalidToken, RegistrationClosed and ValidationError.
    """
    invitation = pending.get_open_registration(token, now=now)
    if invitation.invited_by_id is None:
        raise tokens.InvalidToken
    pending.check_mode(invitation)
    user = User(username=username, email=invitation.email)
    activation.validate_new_user(user, password)
    user.password = make_password(password)
    return activation.activate(invitation, user, now=now)
