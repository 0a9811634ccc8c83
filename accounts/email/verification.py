"""E-mail addresses: whose they are, proven by opening what was sent there.

An address that somebody only claims gives way to whoever proves it.
"""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from accounts import throttling
from accounts.audit import log as audit
from accounts.email import sending
from accounts.mfa import services as mfa
from accounts.models import Registration, User, fold, spelled
from accounts.tokens import format as token_format
from accounts.tokens import services as tokens
from accounts.users import access, permissions

VERIFICATION = tokens.Scope.EMAIL_VERIFICATION


class AlreadyVerified(Exception):
    """The user has proven the address, and has asked for no other."""


def request_email_change(user: User, email: str) -> None:
    """Have the user prove a new address; the old one holds until then, and is told.

    Whether the new one is somebody else's is not. Raises ValidationError, and AccessEnded if access
    ended while the password was checked.
    """
    email = User.objects.normalize_email(email)
    if fold(email) == fold(user.email):
        raise ValidationError({"email": _("This is your address already.")})
    with transaction.atomic():
        User.objects.lock(user)
        User.objects.filter(pk=user.pk).update(pending_email=email)
        audit.record("address.asked", target=user, after={"email": email})
        tokens.revoke_email_links(user)
        sending.enqueue("new-address", user.pk)
        sending.enqueue("address-change", user.pk)
    user.pending_email = email


def resend_verification(user: User, *, by: User, now: datetime) -> None:
    """Mail the link once more to the address that the user still has to prove, for staff.

    Raises NotAllowed, NothingToProve, and TooManyTries when the address has been mailed to a lot.
    """
    if not permissions.can_change_user(by, user):
        raise permissions.UserPermissionDenied
    throttling.consume(throttling.staff_mail_limits(unproven(user), by.pk), now=now)
    with transaction.atomic():
        _resend(user)
        audit.record("user.verification_sent", target=user, now=now)


def resend_own(user: User, *, address: str | None, now: datetime) -> None:
    """Mail the link once more to the address that the user still has to prove, for the user, who
    is signed in at this network address. Nobody else can have the link of a change mailed.

    Raises NothingToProve, TooManyTries.
    """
    throttling.consume(throttling.mail_limits(unproven(user), address), now=now)
    _resend(user)


def unproven(user: User) -> str:
    """Return the address that the user still has to prove. Raises NothingToProve."""
    address = user.pending_email or _own_unproven(user)
    if not address:
        raise AlreadyVerified
    return address


def _resend(user: User) -> None:
    sending.enqueue("new-address" if user.pending_email else "verification", user.pk)


def cancel_change(user: User) -> None:
    """Keep the old address after all."""
    access.end_address_change(user)


def asked_by(secret: token_format.Shown, *, now: datetime) -> User:
    """Return the user whose address this secret proves. Raises TokenRefused."""
    return tokens.get_active(secret, scope=VERIFICATION, now=now).user


def verify_email(secret: token_format.Shown, *, now: datetime) -> User:
    """Make the address the user's own that this secret was sent to; of many at once one succeeds.
    Another pending change ends, and so does every link that was mailed.

    Raises TokenRefused, also when the user no longer wants the address, and when somebody else
    has proven it meanwhile.
    """
    with transaction.atomic():
        token = tokens.get_active(secret, scope=VERIFICATION, now=now)
        # The user before the token, as everywhere, so that no two wait for each other.
        user = User.objects.select_for_update().get(pk=token.user_id)
        if not token.sent_to or token.sent_to not in (user.pending_email, _own_unproven(user)):
            raise tokens.InvalidToken
        tokens.consume(secret, scope=VERIFICATION, now=now)
        prove(user, token.sent_to, now=now)
        access.end_address_change(user)
    return user


def prove(user: User, email: str, *, now: datetime) -> None:
    """Make an address the user's own that was shown to be theirs. Within a transaction that holds
    the user's row. Raises TokenRefused when somebody else has proven it meanwhile.
    """
    before = {"email": user.email, "email_verified_at": user.email_verified_at}
    release_unverified_claims(email, user)
    user.email, user.email_verified_at = email, now
    try:
        with transaction.atomic():
            user.save(update_fields=["email", "email_verified_at", "updated_at"])
    except IntegrityError:
        raise tokens.InvalidToken from None
    mfa.keep_at_reset(user)
    after = {"email": user.email, "email_verified_at": now}
    audit.record("address.confirmed", target=user, by=user, before=before, after=after, now=now)
    Registration.objects.filter(spelled("email", email)).delete()


def release_unverified_claims(email: str, user: User) -> None:
    """Take an address from those who have not proven it, for the user who has."""
    claims = User.objects.filter(spelled("email", email), email_verified_at=None).order_by("pk")
    for holder in claims.exclude(pk=user.pk).select_for_update():
        tokens.revoke_email_links(holder)
        audit.record("address.released", target=holder, before={"email": holder.email})
        User.objects.filter(pk=holder.pk).update(email=f"{holder.pk}@released.invalid")


def email_is_verified(email: str) -> bool:
    """Whether somebody has proven this address."""
    user = User.objects.with_email(email)
    return user is not None and user.email_verified_at is not None


def send_verification(user_id: UUID, *, now: datetime) -> None:
    """Mail a link to the user's own address, if it is not proven and free."""
    _send_link(user_id, _own_unproven, now=now)


def send_change_link(user_id: UUID, *, now: datetime) -> None:
    """Mail a link to the address that the user asked for, if there is one and it is free."""
    _send_link(user_id, lambda user: user.pending_email, now=now)


def _own_unproven(user: User) -> str:
    return user.email if user.email_verified_at is None else ""


def _send_link(user_id: UUID, address: Callable[[User], str], *, now: datetime) -> None:
    with transaction.atomic():
        # Held until the secret is stored: it is revoked when the address changes meanwhile.
        user = User.objects.select_for_update().filter(pk=user_id, is_active=True).first()
        if user is None or not (to := address(user)):
            return
        taken = email_is_verified(to)
        if not taken:
            _token, secret = tokens.issue(user, scope=VERIFICATION, now=now, sent_to=to)
    if taken:
        send_already_registered(to)
    else:
        link = sending.build_url("verify-email", secret)
        sending.send_email(
            "verify_email", to=to, language=user.language, link=link, username=user.username
        )


def send_already_registered(email: str) -> None:
    """Tell whose address it is that it was given again; perhaps they forgot that they did."""
    user = User.objects.with_email(email)
    if user is not None:
        sending.send_email(
            "have_account",
            to=user.email,
            language=user.language,
            username=user.username,
            link=sending.build_url("sign-in"),
            forgotten=sending.build_url("password-reset"),
        )


def send_change_notice(user_id: UUID) -> None:
    """Tell the old address that it will be replaced, while that can still be prevented."""
    user = User.objects.filter(pk=user_id, is_active=True).first()
    if user is not None and user.pending_email and user.email_verified_at is not None:
        sending.send_email(
            "address_change",
            to=user.email,
            language=user.language,
            username=user.username,
            pending=user.pending_email,
            link=sending.build_url("account"),
        )
