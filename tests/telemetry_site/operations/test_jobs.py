"""The job table: jobs of dead workers, and the deletion of old jobs."""

import pytest
from django.test import Client
from procrastinate.contrib.django import app

import accounts.tasks
import telemetry.tasks
from telemetry_site.operations import jobs, metrics, worker
from tests.telemetry_site.operations.worker_process import (
    add_job,
    create_dead_worker,
    query,
    status_of,
)

pytestmark = pytest.mark.django_db

TASKS = sorted(
    (task for name, task in app.tasks.items() if not name.startswith(("builtin", "procrastinate"))),
    key=lambda task: task.name,
)
LOCKED = [task for task in TASKS if task.lock]


def fetch(queue: str, at: int) -> int | None:
    """Return the id of the job that a worker of this queue would start now."""
    ((found,),) = query("SELECT id FROM procrastinate_fetch_job_v2(ARRAY[%s], %s)", queue, at)
    return found


@pytest.fixture
def live_worker() -> int:
    return int(query("INSERT INTO procrastinate_workers DEFAULT VALUES RETURNING id")[0][0])


@pytest.mark.parametrize("task", LOCKED, ids=lambda task: task.name)
def test_a_job_of_a_dead_worker_releases_its_lock(task, live_worker):
    lost = add_job(task, worker=create_dead_worker(), timestamp=1)
    queued = add_job(task, timestamp=2)
    assert fetch(task.queue, live_worker) is None
    assert jobs.retry_stalled() == 1
    assert status_of(lost) == "aborted"
    assert fetch(task.queue, live_worker) == queued


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_job_of_a_dead_worker_is_retried(task, live_worker):
    lost = add_job(task, worker=create_dead_worker(), timestamp=1)
    assert jobs.retry_stalled() == 1
    assert fetch(task.queue, live_worker) == lost
    assert jobs.retry_stalled() == 0


def test_of_two_stalled_jobs_of_a_task_one_is_retried(live_worker):
    lost = [add_job(telemetry.tasks.roll_up, worker=None, timestamp=1)]
    query(
        "UPDATE procrastinate_jobs SET status = 'doing', lock = 'before', worker_id = %s",
        live_worker,
    )
    lost.append(add_job(telemetry.tasks.roll_up, worker=live_worker, timestamp=2))
    query("UPDATE procrastinate_workers SET last_heartbeat = now() - interval '1 hour'")
    assert jobs.retry_stalled() == 2
    assert sorted(map(status_of, lost)) == ["aborted", "todo"]


def test_a_job_whose_worker_was_deleted_is_retried():
    gone = create_dead_worker()
    lost = add_job(telemetry.tasks.roll_up, worker=gone, timestamp=1)
    query("DELETE FROM procrastinate_workers WHERE id = %s", gone)
    assert jobs.retry_stalled() == 1
    assert status_of(lost) == "todo"


def test_a_job_of_a_live_worker_is_not_retried(live_worker):
    job = add_job(telemetry.tasks.roll_up, worker=live_worker, timestamp=1)
    assert jobs.retry_stalled() == 0
    assert status_of(job) == "doing"


def test_a_job_that_stalled_ten_times_fails():
    lost = add_job(
        accounts.tasks.send_mail, worker=create_dead_worker(), attempts=jobs.MAX_ATTEMPTS - 1
    )
    jobs.retry_stalled()
    assert status_of(lost) == "failed"


def test_stalled_jobs_are_counted(live_worker, staff_client: Client):
    add_job(telemetry.tasks.roll_up, worker=live_worker, timestamp=1)
    add_job(telemetry.tasks.apply_retention, worker=create_dead_worker(), timestamp=1)
    assert "\ntelemetry_jobs_stalled 1.0\n" in metrics.metrics_response().content.decode()
    assert "1 stalled" in " ".join(staff_client.get("/admin/").text.split())


def test_finished_jobs_are_kept_for_a_day_and_failed_jobs_for_thirty_days():
    ages = {"succeeded": (0, 2), "aborted": (0, 2), "failed": (0, 2, 29, 31)}
    for status, days in ages.items():
        for age in days:
            job = add_job(telemetry.tasks.roll_up, timestamp=age)
            query(
                "UPDATE procrastinate_jobs SET status = %s::text::procrastinate_job_status"
                " WHERE id = %s",
                status,
                job,
            )
            query(
                "UPDATE procrastinate_events SET at = now() - make_interval(days => %s)"
                " WHERE job_id = %s",
                age,
                job,
            )
    waiting = add_job(telemetry.tasks.roll_up, timestamp=40)
    query(
        "UPDATE procrastinate_events SET at = now() - interval '40 days' WHERE job_id = %s", waiting
    )
    assert jobs.remove_old() == 3
    left = query(
        "SELECT status::text, (args->>'timestamp')::int FROM procrastinate_jobs ORDER BY 1, 2"
    )
    assert left == [
        ("aborted", 0),
        ("failed", 0),
        ("failed", 2),
        ("failed", 29),
        ("succeeded", 0),
        ("todo", 40),
    ]


def test_every_task_is_in_a_queue_of_the_worker():
    assert {task.queue for task in TASKS} == set(worker.QUEUES)


def test_long_jobs_of_one_kind_do_not_use_every_slot_of_their_queue():
    locks = [task.lock for task in TASKS if task.queue == "long"]
    assert None not in locks
    assert len(set(locks)) == worker.QUEUES["long"]
