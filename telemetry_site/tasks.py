"""Periodic tasks for sessions, jobs, data exports and deleted accounts."""

from django.utils import timezone
from procrastinate import JobContext
from procrastinate.contrib.django import app

from accounts.sessions import store
from accounts.users import data_exports
from telemetry_site.account_data import deletion as account_deletion
from telemetry_site.account_data import export as data_export
from telemetry_site.operations import jobs


@app.periodic(cron="17 * * * *")
@app.task(queueing_lock="clear_sessions")
def clear_sessions(timestamp: int) -> None:
    """Every hour: delete expired sessions."""
    store.delete_expired(timezone.now())


@app.periodic(cron="27 * * * *")
@app.task(queueing_lock="remove_old_jobs")
def remove_old_jobs(timestamp: int) -> None:
    """Every hour: delete jobs that ended a day ago, and failed ones after 30 days."""
    jobs.remove_old()


@app.periodic(cron="* * * * * */10")
@app.task(queue="long", queueing_lock="make_archives", lock="make_archives", pass_context=True)
def make_archives(context: JobContext, timestamp: int) -> None:
    """Every ten seconds: build the pending data exports.

    An interrupted data export stays pending; the next run starts it again.
    """
    data_export.build_pending(should_stop=context.should_abort)


@app.periodic(cron="47 * * * *")
@app.task(queueing_lock="clean_archives")
def clean_archives(timestamp: int) -> None:
    """Every hour: delete expired data exports."""
    data_exports.delete_expired(now=timezone.now())


@app.periodic(cron="* * * * *")
@app.task(
    queue="long",
    queueing_lock="clear_users_who_left",
    lock="purge_deleted_devices",
    pass_context=True,
)
def clear_users_who_left(context: JobContext, timestamp: int) -> None:
    """Every minute: delete the rows of deleted accounts, once their devices are purged."""
    account_deletion.purge_deleted_users(now=timezone.now(), should_stop=context.should_abort)
