"""The table of jobs: what a lost worker leaves behind, and what is removed."""

import pytest
from django.test import Client
from procrastinate.contrib.django import app

import accounts.tasks
import telemetry.tasks
from telemetry_site.operations import jobs, metrics, worker
from tests.telemetry_site.operations.worker_process import add_job, ask, dead_worker, status_of

pytestmark = pytest.mark.django_db

OURS = sorted(
    (task for name, task in app.tasks.items() if not name.startswith(("builtin", "procrastinate"))),
    key=lambda task: task.name,
)
LOCKED = [task for task in OURS if task.lock]


def fetch(queue: str, at: int) -> int | None:
    """The id of the job that a worker of this queue would begin now."""
    ((found,),) = ask("SELECT id FROM procrastinate_fetch_job_v2(ARRAY[%s], %s)", queue, at)
    return found


@pytest.fixture
def living() -> int:
    return int(ask("INSERT INTO procrastinate_workers DEFAULT VALUES RETURNING id")[0][0])


@pytest.mark.parametrize("task", LOCKED, ids=lambda task: task.name)
def test_a_job_that_lost_its_worker_does_not_keep_its_lock(task, living):
    lost = add_job(task, worker=dead_worker(), timestamp=1)
    queued = add_job(task, timestamp=2)
    assert fetch(task.queue, living) is None
    assert jobs.retry_stalled() == 1
    assert status_of(lost) == "aborted"
    assert fetch(task.queue, living) == queued


@pytest.mark.parametrize("task", OURS, ids=lambda task: task.name)
def test_a_job_that_lost_its_worker_is_done_again(task, living):
    lost = add_job(task, worker=dead_worker(), timestamp=1)
    assert jobs.retry_stalled() == 1
    assert fetch(task.queue, living) == lost
    assert jobs.retry_stalled() == 0


def test_of_two_that_were_lost_one_is_done_again(living):
    lost = [add_job(telemetry.tasks.roll_up, worker=None, timestamp=1)]
    ask("UPDATE procrastinate_jobs SET status = 'doing', lock = 'before', worker_id = %s", living)
    lost.append(add_job(telemetry.tasks.roll_up, worker=living, timestamp=2))
    ask("UPDATE procrastinate_workers SET last_heartbeat = now() - interval '1 hour'")
    assert jobs.retry_stalled() == 2
    assert sorted(map(status_of, lost)) == ["aborted", "todo"]


def test_a_job_whose_worker_was_removed_is_done_again():
    gone = dead_worker()
    lost = add_job(telemetry.tasks.roll_up, worker=gone, timestamp=1)
    ask("DELETE FROM procrastinate_workers WHERE id = %s", gone)
    assert jobs.retry_stalled() == 1
    assert status_of(lost) == "todo"


def test_a_job_of_a_living_worker_is_left_alone(living):
    job = add_job(telemetry.tasks.roll_up, worker=living, timestamp=1)
    assert jobs.retry_stalled() == 0
    assert status_of(job) == "doing"


def test_a_job_that_has_lost_its_worker_ten_times_fails():
    lost = add_job(accounts.tasks.send_mail, worker=dead_worker(), attempts=jobs.ATTEMPTS - 1)
    jobs.retry_stalled()
    assert status_of(lost) == "failed"


def test_stalled_jobs_are_counted(living, staff_client: Client):
    add_job(telemetry.tasks.roll_up, worker=living, timestamp=1)
    add_job(telemetry.tasks.apply_retention, worker=dead_worker(), timestamp=1)
    assert "\ntelemetry_jobs_stalled 1.0\n" in metrics.metrics_response().content.decode()
    assert "1 stalled" in " ".join(staff_client.get("/admin/").text.split())


def test_ended_jobs_are_kept_for_a_day_and_failed_ones_for_thirty():
    ages = {"succeeded": (0, 2), "aborted": (0, 2), "failed": (0, 2, 29, 31)}
    for status, days in ages.items():
        for age in days:
            job = add_job(telemetry.tasks.roll_up, timestamp=age)
            ask(
                "UPDATE procrastinate_jobs SET status = %s::text::procrastinate_job_status"
                " WHERE id = %s",
                status,
                job,
            )
            ask(
                "UPDATE procrastinate_events SET at = now() - make_interval(days => %s)"
                " WHERE job_id = %s",
                age,
                job,
            )
    waiting = add_job(telemetry.tasks.roll_up, timestamp=40)
    ask(
        "UPDATE procrastinate_events SET at = now() - interval '40 days' WHERE job_id = %s", waiting
    )
    assert jobs.remove_old() == 3
    left = ask(
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


def test_every_task_is_in_a_queue_that_the_worker_serves():
    assert {task.queue for task in OURS} == set(worker.QUEUES)


def test_long_jobs_of_one_kind_leave_room_for_the_others():
    locks = [task.lock for task in OURS if task.queue == "long"]
    assert None not in locks
    assert len(set(locks)) == worker.QUEUES["long"]
