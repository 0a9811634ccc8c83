"""What the worker does about accounts."""

from django.utils import timezone
from procrastinate.contrib.django import app

from accounts import audit


@app.periodic(cron="37 3 * * *")
@app.task(queueing_lock="forget_old_audit_events")
def forget_old_audit_events(timestamp: int) -> None:
    """Every night: remove what is over its age from the audit trail."""
    audit.forget_old(now=timezone.now())
