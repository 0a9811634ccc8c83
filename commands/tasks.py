"""What the worker does about commands."""

from django.utils import timezone
from procrastinate.contrib.django import app

from commands import services as command_services


@app.periodic(cron="* * * * * */30")
@app.task(queueing_lock="expire_commands")
def expire_commands(timestamp: int) -> None:
    """Every half minute: note which commands have run out of time or of attempts."""
    command_services.expire_overdue(now=timezone.now())
