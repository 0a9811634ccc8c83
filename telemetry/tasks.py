"""Periodic tasks for readings."""

import logging
from collections import Counter

from django.utils import timezone
from procrastinate import JobContext, RetryStrategy
from procrastinate.contrib.django import app
from procrastinate.exceptions import JobAborted

from telemetry.ingest import idempotency
from telemetry.retention import apply as expiry
from telemetry.retention import partitions, purge
from telemetry.rollups import build as rollups

logger = logging.getLogger(__name__)


@app.periodic(cron="7 3 * * *")
@app.task(queueing_lock="make_months_ahead")
def make_months_ahead(timestamp: int) -> None:
    """Every night: create the partitions of the next months."""
    partitions.ensure_ahead(timezone.now())


@app.periodic(cron="* * * * *")
@app.task(
    queue="long",
    queueing_lock="purge_deleted_devices",
    lock="purge_deleted_devices",
    pass_context=True,
)
def purge_deleted_devices(context: JobContext, timestamp: int) -> None:
    """Every minute: delete the rows of decommissioned devices."""
    purge.purge_deleted(should_stop=context.should_abort)


@app.periodic(cron="17 3 * * *")
@app.task(queue="long", queueing_lock="forget_old_deliveries", lock="apply_retention")
def forget_old_deliveries(timestamp: int) -> None:
    """Every night: delete the expired Idempotency-Keys."""
    idempotency.delete_expired(timezone.now())


@app.periodic(cron="23 3 * * *")
@app.task(
    queue="long",
    queueing_lock="apply_retention",
    lock="apply_retention",
    pass_context=True,
    retry=RetryStrategy(retry_exceptions=[JobAborted]),
)
def apply_retention(context: JobContext, timestamp: int) -> None:
    """Every night: delete expired rows. If the worker stops, the job continues at the next start.

    Raises JobAborted, so that the job is queued again.
    """
    deleted: Counter[str] = Counter()
    for table, rows in expiry.apply(timezone.now(), should_stop=context.should_abort):
        deleted[table] += rows
        if context.should_abort():
            break
    logger.info("retention has deleted %s", dict(deleted))
    if context.should_abort():
        raise JobAborted


@app.periodic(cron="43 3 * * *")
@app.task(queueing_lock="drop_empty_partitions", lock="apply_retention")
def drop_empty_partitions(timestamp: int) -> None:
    """Every night: drop the partitions of old months and years that have no readings."""
    dropped = partitions.drop_empty(timezone.now())
    logger.info("dropped %d empty partitions", len(dropped))


@app.periodic(cron="* * * * * */10")
@app.task(queue="long", queueing_lock="roll_up", lock="rollups", pass_context=True)
def roll_up(context: JobContext, timestamp: int) -> None:
    """Every ten seconds: update the hourly and daily rollups."""
    rollups.process_queue(should_stop=context.should_abort)
    rollups.roll_up_closed_hours(timezone.now(), should_stop=context.should_abort)
