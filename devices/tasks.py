"""Periodic tasks of the worker for devices."""

from django.utils import timezone
from procrastinate.contrib.django import app

from devices import events, presence


@app.periodic(cron="* * * * * */30")
@app.task(queueing_lock="announce_offline")
def announce_offline(timestamp: int) -> None:
    """Announce devices that have gone offline, every 30 seconds."""
    presence.announce_offline(now=timezone.now())


@app.periodic(cron="37 * * * *")
@app.task(queueing_lock="forget_watches")
def forget_watches(timestamp: int) -> None:
    """Delete expired watches, every hour."""
    events.delete_expired_watches()
