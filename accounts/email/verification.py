"""Verification and change of e-mail addresses by mailed links.

An unverified e-mail address is released as soon as another user verifies it.
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
from accounts.models import Registration, User, equals_ignoring_case, fold
from accounts.tokens import format as token_format
from accounts.tokens import services as tokens
from accounts.users import access, permissions

VERIFICATION = tokens.Scope.EMAIL_VERIFICATION


class AlreadyVerified(Exception):
    """The e-mail address is verified, and no change is pending."""


def request_email_change(user: User, email: str) -> None:
    """Request a change of the e-mail address, and mail a verification link to the new one.

    The current address stays valid until then and is notified. The response does not reveal whether
    the new one is taken. Raises ValidationError, and AccessEnded if access was revoked while the
    password was checked.
    """
    email = User.objects.normalize_email(email)
    if fold(email) == fold(user.email):
        raise ValidationError({"email": _("This is already your e-mail address.")})
    with transaction.atomic():
        User.objects.lock(user)
        User.objects.filter(pk=user.pk).update(pending_email=email)
        audit.record("address.asked", target=user, after={"email": email})
        tokens.revoke_verification_links(user)
        sending.enqueue("new-address", user.pk)
        if user.email_verified_at is not None:
            sending.enqueue("address-change", user.pk, recipient=user.email, new_email=email)
    user.pending_email = email


def resend_verification(user: User, *, actor: User, now: datetime) -> None:
    """Mail the verification link of a user again, on request of staff.

    Raises UserPermissionDenied, AlreadyVerified, and RateLimitExceeded.
    """
    if not permissions.can_change_user(actor, user):
        raise permissions.UserPermissionDenied
    throttling.consume(throttling.staff_mail_limits(get_unverified_email(user), actor.pk), now=now)
    with transaction.atomic():
        _resend(user)
        audit.record("user.verification_sent", target=user, now=now)


def resend_own_link(user: User, *, ip_address: str | None, now: datetime) -> None:
    """Mail the verification link of the signed-in user again.

    Only the user can request the link of a change of e-mail address. Raises AlreadyVerified and
    RateLimitExceeded.
    """
    throttling.consume(throttling.mail_limits(get_unverified_email(user), ip_address), now=now)
    _resend(user)


def get_unverified_email(user: User) -> str:
    """Return the e-mail address that the user has not verified yet. Raises AlreadyVerified."""
    email = user.pending_email or _own_unverified_email(user)
    if not email:
        raise AlreadyVerified
    return email


def _resend(user: User) -> None:
    sending.enqueue("new-address" if user.pending_email else "verification", user.pk)


def cancel_change(user: User) -> None:
    """Cancel a pending change of the e-mail address."""
    access.cancel_email_change(user)


def get_user_for_link(token: token_format.TokenOrDigest, *, now: datetime) -> User:
    """Return the user of a verification token. Raises InvalidToken."""
    return tokens.get_active(token, scope=VERIFICATION, now=now).user


def verify_email(token: token_format.TokenOrDigest, *, now: datetime) -> User:
    """Verify the e-mail address that this token was sent to. Of concurrent requests, one succeeds.

    A pending change is cancelled and all mailed links are revoked. Raises InvalidToken, also if the
    user has cancelled the change, or another user has verified the address meanwhile.
    """
    with transaction.atomic():
        row = tokens.get_active(token, scope=VERIFICATION, now=now)
        # Lock the user's row before the token row, as all code does, to avoid deadlocks.
        user = User.objects.select_for_update().get(pk=row.user_id)
        if not row.sent_to or row.sent_to not in (user.pending_email, _own_unverified_email(user)):
            raise tokens.InvalidToken
        tokens.consume(token, scope=VERIFICATION, now=now)
        mark_verified(user, row.sent_to, now=now)
        access.cancel_email_change(user)
        tokens.revoke_email_links(user)
    return user


def mark_verified(user: User, email: str, *, now: datetime) -> None:
    """Set the verified e-mail address of the user.

    Call it in a transaction that has locked the user's row. Raises InvalidToken if another user has
    verified the address meanwhile.
    """
    before = {"email": user.email, "email_verified_at": user.email_verified_at}
    release_unverified_claims(email, user)
    user.email, user.email_verified_at = email, now
    try:
        with transaction.atomic():
            user.save(update_fields=["email", "email_verified_at", "updated_at"])
    except IntegrityError:
        raise tokens.InvalidToken from None
    mfa.keep_on_password_reset(user)
    after = {"email": user.email, "email_verified_at": now}
    audit.record("address.confirmed", target=user, actor=user, before=before, after=after, now=now)
    if before["email_verified_at"] is not None and before["email"] != email:
        sending.enqueue("address-changed", user.pk, recipient=str(before["email"]), new_email=email)
    Registration.objects.filter(equals_ignoring_case("email", email)).delete()


def release_unverified_claims(email: str, user: User) -> None:
    """Remove the e-mail address from other users, who have not verified it."""
    claims = User.objects.filter(
        equals_ignoring_case("email", email), email_verified_at=None
    ).order_by("pk")
    for claimant in claims.exclude(pk=user.pk).select_for_update():
        tokens.revoke_email_links(claimant)
        audit.record("address.released", target=claimant, before={"email": claimant.email})
        User.objects.filter(pk=claimant.pk).update(email=f"{claimant.pk}@released.invalid")


def email_is_verified(email: str) -> bool:
    """Return whether a user has verified this e-mail address."""
    user = User.objects.with_email(email)
    return user is not None and user.email_verified_at is not None


def send_verification(user_id: UUID, *, now: datetime) -> None:
    """Mail a link to the current e-mail address of the user, if it is unverified."""
    _send_link(user_id, _own_unverified_email, now=now)


def send_change_link(user_id: UUID, *, now: datetime) -> None:
    """Mail a link to the new e-mail address of a pending change, if there is one."""
    _send_link(user_id, lambda user: user.pending_email, now=now)


def _own_unverified_email(user: User) -> str:
    return user.email if user.email_verified_at is None else ""


def _send_link(user_id: UUID, get_email: Callable[[User], str], *, now: datetime) -> None:
    """Mail a verification link, or a notice if another user has verified the e-mail address."""
    with transaction.atomic():
        # Locked until the token is stored, so that a change of the address revokes the token.
        user = User.objects.active().select_for_update().filter(pk=user_id).first()
        if user is None or not (to := get_email(user)):
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
    """Mail an existing user that their e-mail address was used to sign up again.

    The user may have forgotten the account.
    """
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


def send_change_notice(user_id: UUID, recipient: str = "", new_email: str = "") -> None:
    """Notify the current e-mail address of a requested change, so that the user can cancel it.

    Both addresses are fixed when the change is requested, so that the notice is sent even if the
    change was confirmed before. They are empty in jobs of an earlier version.
    """
    user = User.objects.active().filter(pk=user_id).first()
    if user is None:
        return
    if not recipient and user.email_verified_at is not None:
        recipient, new_email = user.email, user.pending_email
    if recipient and new_email:
        _send_notice(user, "address_change", recipient, pending=new_email)


def send_replaced_notice(user_id: UUID, recipient: str, new_email: str) -> None:
    """Notify the old e-mail address of a user that a new one has replaced it."""
    user = User.objects.active().filter(pk=user_id).first()
    if user is not None:
        _send_notice(user, "address_changed", recipient, new_email=new_email)


def _send_notice(user: User, name: str, recipient: str, **context: str) -> None:
    sending.send_email(
        name,
        to=recipient,
        language=user.language,
        username=user.username,
        link=sending.build_url("account"),
        **context,
    )
