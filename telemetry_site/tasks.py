"""What the worker does about its own table and about sessions."""

from django.utils import timezone
from procrastinate import JobContext, builtin_tasks
from procrastinate.contrib.django import app

from accounts import sessions


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
