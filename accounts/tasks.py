"""What the worker does about accounts: it sends their mail and forgets what is over."""

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
from accounts.registration import services as registrations

MAIL_HANDLERS: dict[str, Callable[[UUID, datetime], None]] = {
    "registration": lambda subject, now: registrations.send_registration_mail(subject, now=now),
    "verification": lambda subject, now: verification.send_verification(subject, now=now),
    "new-address": lambda subject, now: verification.send_change_link(subject, now=now),
    "address-change": lambda subject, now: verification.send_change_notice(subject),
    "password-reset": lambda subject, now: passwords.send_resets(subject, now=now),
    "password-changed": lambda subject, now: passwords.send_password_changed(subject),
    "wrong-codes": lambda subject, now: mfa.send_notice(subject),
}
"""Each kind of mail, and who writes it."""


@app.task(queue="mail", retry=RetryStrategy(max_attempts=7, exponential_wait=4))
def send_mail(kind: str, subject: str, language: str = settings.LANGUAGE_CODE) -> None:
    """Send a mail; when no server takes it, again after 4, 16, 64 … seconds, for some six hours.

    A mail that is being sent when its worker ends is sent again: it may arrive twice.
    """
    with translation.override(language):
        MAIL_HANDLERS[kind](UUID(subject), timezone.now())


@app.periodic(cron="37 * * * *")
@app.task(queueing_lock="forget_ended")
def delete_expired_registrations_and_counters(timestamp: int) -> None:
    """Every hour: forget registrations that nobody completed, and tries that no longer count."""
    now = timezone.now()
    registrations.delete_expired(now)
    throttling.delete_expired(now)


@app.periodic(cron="37 3 * * *")
@app.task(queue="long", queueing_lock="forget_old_audit_events", lock="apply_retention")
def forget_old_audit_events(timestamp: int) -> None:
    """Every night: remove what is over its age from the audit trail."""
    audit.delete_expired(now=timezone.now())
