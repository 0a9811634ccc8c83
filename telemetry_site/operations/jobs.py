"""The table of jobs: retry stalled jobs, delete old ones, count stalled ones.

A job is stalled when its status is "doing" and its worker has sent no heartbeat for STALLED_AFTER.
Without a retry such a job would hold its lock forever, and no job with the same lock would start.
"""

import logging

from django.db import IntegrityError, connection, transaction

logger = logging.getLogger(__name__)

STALLED_AFTER = 30.0
"""Seconds; a worker sends a heartbeat every ten seconds."""
MAX_ATTEMPTS = 10
"""After this many attempts a stalled job fails: the job itself may crash the worker."""
RETENTION_DAYS, FAILED_RETENTION_DAYS = 1, 30

STALLED = """
    FROM procrastinate_jobs AS job LEFT JOIN procrastinate_workers AS worker
        ON worker.id = job.worker_id
    WHERE job.status = 'doing' AND coalesce(worker.last_heartbeat, '-infinity')
        < now() - make_interval(secs => %s)
"""
SELECT_STALLED = (
    f"SELECT job.id, job.task_name {STALLED} ORDER BY job.id FOR UPDATE OF job SKIP LOCKED"
)
RETRY = """
    UPDATE procrastinate_jobs SET
        status = (CASE WHEN attempts + 1 < %s AND NOT abort_requested THEN 'todo' ELSE 'failed' END
            )::procrastinate_job_status,
        attempts = attempts + 1, worker_id = NULL, scheduled_at = NULL, abort_requested = false
    WHERE id = %s
"""
REMOVE_OLD = """
    DELETE FROM procrastinate_jobs AS job
    WHERE status IN ('succeeded', 'failed', 'cancelled', 'aborted') AND NOT EXISTS (
        SELECT FROM procrastinate_events AS event WHERE event.job_id = job.id
            AND event.at >= now() - make_interval(
                days => CASE job.status WHEN 'failed' THEN %s ELSE %s END
            )
    )
"""
ABORT = """
    UPDATE procrastinate_jobs SET status = 'aborted', attempts = attempts + 1, worker_id = NULL
    WHERE id = %s
"""


def retry_stalled() -> int:
    """Queue every stalled job again, and return how many there were.

    If another job with the same queueing lock is already queued, abort the stalled one instead: the
    queued job does the same work. A worker without heartbeat may still run the job at the same time
    as the retry. Every job tolerates that; a mail may be sent twice.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(SELECT_STALLED, [STALLED_AFTER])
        stalled = cursor.fetchall()
        for job_id, task_name in stalled:
            try:
                with transaction.atomic():
                    cursor.execute(RETRY, [MAX_ATTEMPTS, job_id])
            except IntegrityError:
                cursor.execute(ABORT, [job_id])
            logger.warning("job %s (%s) lost its worker", job_id, task_name)
    return len(stalled)


def count_stalled() -> int:
    """Return how many jobs are stalled."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) {STALLED}", [STALLED_AFTER])
        return int(cursor.fetchone()[0])


def remove_old() -> int:
    """Delete jobs that ended RETENTION_DAYS ago, and failed ones after FAILED_RETENTION_DAYS.

    Return how many.
    """
    with connection.cursor() as cursor:
        cursor.execute(REMOVE_OLD, [FAILED_RETENTION_DAYS, RETENTION_DAYS])
        return int(cursor.rowcount)
