"""What the worker does about its own table and about sessions."""

from django.utils import timezone
from procrastinate import JobContext, builtin_tasks
from procrastinate.contrib.django import app

from accounts import archives, sessions
from telemetry_site import archive, leaving


@app.periodic(cron="17 * * * *")
@app.task(queueing_lock="clear_sessions")
def clear_sessions(timestamp: int) -> None:
    """Every hour: forget sessions that have ended."""
    sessions.forget_ended(timezone.now())


@app.periodic(cron="27 * * * *")
@app.task(queueing_lock="remove_old_jobs", pass_context=True)
async def remove_old_jobs(context: JobContext, timestamp: int) -> None:
    """Every hour: forget jobs that ended well more than a day ago."""
    await builtin_tasks.remove_old_jobs(context, max_hours=24, remove_failed=False)


@app.periodic(cron="* * * * * */10")
@app.task(queueing_lock="make_archives", lock="make_archives")
def make_archives(timestamp: int) -> None:
    """Every ten seconds: make the archives that somebody waits for.

    A worker that is killed meanwhile leaves a draft, and the next one begins anew.
    """
    archive.make_waiting()


@app.periodic(cron="47 * * * *")
@app.task(queueing_lock="clean_archives")
def clean_archives(timestamp: int) -> None:
    """Every hour: remove archives that nobody has fetched in time."""
    archives.clean(now=timezone.now())


@app.periodic(cron="* * * * *")
@app.task(queueing_lock="clear_users_who_left")
def clear_users_who_left(timestamp: int) -> None:
    """Every minute: forget those who have left, once their devices are purged."""
    leaving.clear(now=timezone.now())
