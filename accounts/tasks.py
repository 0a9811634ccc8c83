"""Tasks of the worker: send mails, delete expired rows."""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.utils import timezone, translation
from procrastinate import RetryStrategy
from procrastinate.contrib.django import app

from accounts import throttling
from accounts.audit import log as audit
from accounts.email import verification
from accounts.mfa import services as mfa
from accounts.passwords import services as passwords
from accounts.registration import pending

MAIL_HANDLERS: dict[str, Callable[[UUID, datetime], None]] = {
    "registration": lambda id, now: pending.send_registration_mail(id, now=now),
    "verification": lambda id, now: verification.send_verification(id, now=now),
    "new-address": lambda id, now: verification.send_change_link(id, now=now),
    "password-reset": lambda id, now: passwords.send_resets(id, now=now),
    "password-changed": lambda id, now: passwords.send_password_changed(id),
    "wrong-codes": lambda id, now: mfa.send_notice(id),
}
"""The function that sends each type of mail."""
NOTICE_HANDLERS: dict[str, Callable[[UUID, str, str], None]] = {
    "address-change": verification.send_change_notice,
    "address-changed": verification.send_replaced_notice,
}
"""The function that sends each type of mail to an e-mail address that was fixed when enqueued."""


@app.task(queue="mail", retry=RetryStrategy(max_attempts=7, exponential_wait=4))
def send_mail(
    kind: str,
    subject: str,
    language: str = settings.LANGUAGE_CODE,
    recipient: str = "",
    new_email: str = "",
) -> None:
    """Send a mail. Retry failures after 4, 16, 64 … seconds, for about six hours.

    `recipient` and `new_email` are empty in jobs of an earlier version and for most types of mail.
    If the worker ends while it sends a mail, the mail is sent again and may arrive twice.
    """
    with translation.override(language):
        if kind in NOTICE_HANDLERS:
            NOTICE_HANDLERS[kind](UUID(subject), recipient, new_email)
        else:
            MAIL_HANDLERS[kind](UUID(subject), timezone.now())


@app.periodic(cron="37 * * * *")
@app.task(queueing_lock="forget_ended")
def delete_expired_registrations_and_counters(timestamp: int) -> None:
    """Delete expired registrations and rate-limit counters, every hour."""
    now = timezone.now()
    pending.delete_expired(now)
    throttling.delete_expired(now)


@app.periodic(cron="37 3 * * *")
@app.task(queue="long", queueing_lock="forget_old_audit_events", lock="apply_retention")
def forget_old_audit_events(timestamp: int) -> None:
    """Delete expired audit events, every night."""
    audit.delete_expired(now=timezone.now())
