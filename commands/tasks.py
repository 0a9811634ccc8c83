"""Periodic tasks of the worker for commands."""

from django.utils import timezone
from procrastinate.contrib.django import app

from commands import services as command_services


@app.periodic(cron="* * * * * */30")
@app.task(queueing_lock="expire_commands")
def expire_commands(timestamp: int) -> None:
    """Mark commands as failed that have expired or used all attempts, every 30 seconds."""
    command_services.expire_overdue(now=timezone.now())
