"""What the worker does about readings."""

import logging
from collections import Counter

from django.utils import timezone
from procrastinate.contrib.django import app

from telemetry import deliveries, expiry, partitions, purge, rollups

logger = logging.getLogger(__name__)


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


@app.periodic(cron="23 3 * * *")
@app.task(queueing_lock="apply_retention", lock="apply_retention")
def apply_retention(timestamp: int) -> None:
    """Every night: remove what is over its age."""
    gone: Counter[str] = Counter()
    for table, rows in expiry.apply(timezone.now()):
        gone[table] += rows
    logger.info("retention has removed %s", dict(gone))


@app.periodic(cron="43 3 * * *")
@app.task(queueing_lock="drop_empty_partitions", lock="apply_retention")
def drop_empty_partitions(timestamp: int) -> None:
    """Every night: drop the tables of old months and years in which no reading is left."""
    dropped = partitions.drop_empty(timezone.now())
    logger.info("dropped %d empty partitions", len(dropped))


@app.periodic(cron="* * * * * */10")
@app.task(queueing_lock="roll_up", lock="rollups")
def roll_up(timestamp: int) -> None:
    """Every ten seconds: bring the hours and days up to date with the readings."""
    rollups.drain()
    rollups.roll_up_closed_hours(timezone.now())
