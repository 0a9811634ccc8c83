"""E-mail addresses: whose they are, proven by opening what was sent there.

An address that somebody only claims gives way to whoever proves it.
"""

from datetime import datetime
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from accounts import audit, mail, rights, throttles, tokens
from accounts.models import Registration, User

VERIFICATION = tokens.Scope.EMAIL_VERIFICATION


class NothingToProve(Exception):
    """The user has proven the address, and has asked for no other."""


def request_change(user: User, email: str) -> None:
    """Have the user prove a new address; the old one holds until then, and is told.

    Whether the new one is somebody else's is not. Raises ValidationError.
    """
    email = User.objects.normalize_email(email)
    if email.casefold() == user.email.casefold():
        raise ValidationError({"email": _("This is your address already.")})
    with transaction.atomic():
        User.objects.filter(pk=user.pk).update(pending_email=email)
        audit.record("address.asked", target=user, after={"email": email})
        tokens.revoke_mailed(user)
        mail.later("verification", user.pk)
        mail.later("address-change", user.pk)
    user.pending_email = email


def resend_verification(user: User, *, by: User, now: datetime) -> None:
    """Mail the link once more to the address that the user still has to prove.

    Raises NotAllowed, NothingToProve, and TooManyTries when the address has been mailed to a lot.
    """
    if not rights.may_change(by, user):
        raise rights.NotAllowed
    if user.email_verified_at is not None and not user.pending_email:
        raise NothingToProve
    throttles.take(throttles.of_mail_by_staff(user.pending_email or user.email), now=now)
    with transaction.atomic():
        mail.later("verification", user.pk)
        audit.record("user.verification_sent", target=user, now=now)


def cancel_change(user: User) -> None:
    """Keep the old address after all."""
    with transaction.atomic():
        User.objects.filter(pk=user.pk).update(pending_email="")
        tokens.revoke_mailed(user)
    user.pending_email = ""


def verify(secret: str, *, now: datetime) -> User:
    """Make the address the user's own that this secret was sent to; of many at once one succeeds.

    Raises TokenRefused, also when somebody else has proven the address meanwhile.
    """
    with transaction.atomic():
        user = tokens.find(secret, scope=VERIFICATION, now=now).user
        # The user before the token, as everywhere, so that no two wait for each other.
        user = User.objects.select_for_update().get(pk=user.pk)
        before = {"email": user.email, "email_verified_at": user.email_verified_at}
        tokens.redeem(secret, scope=VERIFICATION, now=now)
        user.email, user.pending_email = user.pending_email or user.email, ""
        user.email_verified_at = now
        make_room(user.email, user)
        try:
            with transaction.atomic():
                user.save(
                    update_fields=["email", "pending_email", "email_verified_at", "updated_at"]
                )
        except IntegrityError:
            raise tokens.TokenRefused from None
        after = {"email": user.email, "email_verified_at": now}
        audit.record("address.confirmed", target=user, by=user, before=before, after=after, now=now)
        tokens.revoke_mailed(user)
        Registration.objects.filter(email__iexact=user.email).delete()
    return user


def make_room(email: str, user: User) -> None:
    """Take an address from who has not proven it, for the user who has."""
    claims = User.objects.filter(email__iexact=email, email_verified_at=None)
    for holder in claims.exclude(pk=user.pk).select_for_update():
        tokens.revoke_mailed(holder)
        audit.record("address.released", target=holder, before={"email": holder.email})
        User.objects.filter(pk=holder.pk).update(email=f"{holder.pk}@released.invalid")


def is_proven(email: str) -> bool:
    """Whether somebody has proven this address."""
    return User.objects.filter(email__iexact=email, email_verified_at__isnull=False).exists()


def send_verification(user_id: UUID, *, now: datetime) -> None:
    """Mail a link to the address the user still has to prove, if there is one and it is free."""
    with transaction.atomic():
        # Held until the secret is stored: it is revoked when the address changes meanwhile.
        user = User.objects.select_for_update().filter(pk=user_id, is_active=True).first()
        if user is None or not (user.pending_email or user.email_verified_at is None):
            return
        to = user.pending_email or user.email
        taken = is_proven(to)
        if not taken:
            _token, secret = tokens.issue(user, scope=VERIFICATION, now=now)
    if taken:
        send_have_account(to)
    else:
        link = mail.link("verify-email", secret)
        mail.send("verify_email", to=to, language=user.language, link=link, username=user.username)


def send_have_account(email: str) -> None:
    """Tell whose address it is that it was given again; perhaps they forgot that they did."""
    user = User.objects.filter(email__iexact=email).first()
    if user is not None:
        mail.send(
            "have_account",
            to=user.email,
            language=user.language,
            username=user.username,
            link=mail.link("sign-in"),
            forgotten=mail.link("password-reset"),
        )


def send_change_notice(user_id: UUID) -> None:
    """Tell the old address that it will be replaced, while that can still be prevented."""
    user = User.objects.filter(pk=user_id, is_active=True).first()
    if user is not None and user.pending_email and user.email_verified_at is not None:
        mail.send(
            "address_change",
            to=user.email,
            language=user.language,
            username=user.username,
            pending=user.pending_email,
            link=mail.link("account"),
        )
