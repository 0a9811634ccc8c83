"""What the worker does about readings."""

from django.utils import timezone
from procrastinate.contrib.django import app

from telemetry import deliveries, partitions, purge


@app.periodic(cron="7 3 * * *")
@app.task(queueing_lock="make_months_ahead")
def make_months_ahead(timestamp: int) -> None:
    """Every night: have the coming months ready."""
    partitions.ensure_ahead(timezone.now())


@app.periodic(cron="* * * * *")
@app.task(queueing_lock="purge_deleted_devices", lock="purge_deleted_devices")
def purge_deleted_devices(timestamp: int) -> None:
    """Every minute: clear what deleted devices have left."""
    purge.purge_deleted()


@app.periodic(cron="17 3 * * *")
@app.task(queueing_lock="forget_old_deliveries")
def forget_old_deliveries(timestamp: int) -> None:
    """Every night: forget the Idempotency-Keys that nobody sends again."""
    deliveries.forget_old(timezone.now())
