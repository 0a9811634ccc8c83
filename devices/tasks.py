"""What the worker does about devices."""

from django.utils import timezone
from procrastinate.contrib.django import app

from devices import events, presence


@app.periodic(cron="* * * * * */30")
@app.task(queueing_lock="announce_offline")
def announce_offline(timestamp: int) -> None:
    """Every half minute: announce the devices that have fallen silent."""
    presence.announce_offline(now=timezone.now())


@app.periodic(cron="37 * * * *")
@app.task(queueing_lock="forget_watches")
def forget_watches(timestamp: int) -> None:
    """Every hour: remove the watches that have ended."""
    events.delete_expired_watches()
