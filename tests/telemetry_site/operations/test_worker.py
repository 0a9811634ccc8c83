"""The worker as a process: it continues the jobs of a killed worker, and stops gracefully."""

import socket
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone
from procrastinate.contrib.django import app

import accounts.tasks
from accounts.email import sending
from accounts.models import Archive, User
from accounts.users import data_exports
from devices import services as device_services
from devices.models import Device
from telemetry.models import Purge, Telemetry
from telemetry.retention import partitions
from telemetry.rollups import build as rollups
from tests.factories import DeviceFactory
from tests.mail import mail_server
from tests.telemetry.rollup_state import enqueue_hours, queue_size, set_rollup_watermark
from tests.telemetry_site.operations.worker_process import (
    Worker,
    add_job,
    create_dead_worker,
    query,
    rollups_locked,
    status_of,
)

pytestmark = pytest.mark.django_db(transaction=True)

LOCKED = [task for task in app.tasks.values() if task.lock]
DOING = "SELECT id FROM procrastinate_jobs WHERE status = 'doing'"
MANY = 150_000
"""Enough readings for a purge or a data export to take some seconds."""


@pytest.fixture(autouse=True)
def _rolled_up() -> Iterator[None]:
    """Set the watermark to the current hour; delete all workers at the end."""
    set_rollup_watermark(rollups.floor(timezone.now(), rollups.HOUR))
    yield
    query("DELETE FROM procrastinate_workers")


def store_many(device: Device) -> None:
    first = timezone.now() - timedelta(days=2)
    partitions.ensure_ahead(first)
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO telemetry (device_id, recorded_at, id, telemetry_type, payload, created_at)
            SELECT %s, %s::timestamptz + number * interval '1 second', gen_random_uuid(), 'many',
                '{"n": 1}', now() FROM generate_series(1, %s) AS number
            """,
            [device.pk, first, MANY],
        )


def test_jobs_of_every_task_continue_after_a_worker_was_killed(tmp_path):
    # Of the tasks with the same lock, only one can have been running.
    of_lock = {task.lock: task for task in LOCKED}
    lost = [add_job(task, worker=create_dead_worker(), timestamp=1) for task in of_lock.values()]
    queued = {task.name: add_job(task, timestamp=2) for task in LOCKED}
    done = "SELECT id FROM procrastinate_jobs WHERE status = 'succeeded' AND task_name = %s"
    with Worker(tmp_path) as worker:
        for name in queued:
            worker.until(lambda name=name: query(done, name))
        assert worker.stop() == 0
    assert set(map(status_of, lost)) == {"aborted"}
    assert {status_of(job) for job in queued.values()} == {"succeeded"}
    assert query(DOING) == []


def test_a_mail_job_of_a_killed_worker_is_sent(tmp_path, owner):
    add_job(
        accounts.tasks.send_mail,
        worker=create_dead_worker(),
        kind="password-changed",
        subject=str(owner.pk),
    )
    with mail_server() as inbox, Worker(tmp_path, EMAIL_URL=f"smtp://127.0.0.1:{inbox.port}") as w:
        w.until(lambda: inbox.to(owner.email))


def test_mail_and_short_jobs_do_not_wait_for_long_jobs(tmp_path, owner, device):
    Device.objects.filter(pk=device.pk).update(
        status="online", last_seen_at=timezone.now() - timedelta(hours=1)
    )
    rolling = "SELECT id FROM procrastinate_jobs WHERE status = 'doing' AND task_name = %s"
    with (
        rollups_locked(rollups.ADVISORY_LOCK),
        mail_server() as inbox,
        Worker(tmp_path, EMAIL_URL=f"smtp://127.0.0.1:{inbox.port}") as worker,
    ):
        worker.until(lambda: query(rolling, "telemetry.tasks.roll_up"))
        # Every other kind of long job continues, too.
        data_exports.request_export(owner, now=timezone.now())
        add_job(app.tasks["telemetry_site.tasks.make_archives"], timestamp=1)
        add_job(app.tasks["devices.tasks.announce_offline"], timestamp=1)
        sending.enqueue("password-changed", owner.pk)
        worker.until(lambda: inbox.to(owner.email))
        worker.until(lambda: Device.objects.filter(pk=device.pk, status="offline"))
        worker.until(lambda: Archive.objects.filter(user=owner, status="ready"))
        assert query(rolling, "telemetry.tasks.roll_up")


def test_an_unresponsive_mail_server_delays_only_mail(tmp_path, owner, device):
    Device.objects.filter(pk=device.pk).update(
        status="online", last_seen_at=timezone.now() - timedelta(hours=1)
    )
    for _ in range(20):
        sending.enqueue("password-changed", owner.pk)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with Worker(tmp_path, EMAIL_URL=f"smtp://127.0.0.1:{port}") as worker:
            worker.until(lambda: query(f"{DOING} AND queue_name = 'mail'"))
            add_job(app.tasks["devices.tasks.announce_offline"], timestamp=1)
            worker.until(lambda: Device.objects.filter(pk=device.pk, status="offline"))
            sent = (
                "SELECT id FROM procrastinate_jobs WHERE queue_name = 'mail' AND status <> 'todo'"
            )
            assert len(query(sent)) < 20


def test_a_job_that_does_not_stop_is_abandoned_and_done_by_the_next_worker(tmp_path, device):
    enqueue_hours(device, [timezone.now() - timedelta(days=1)])
    add_job(app.tasks["telemetry.tasks.roll_up"], timestamp=1)
    rolling = f"{DOING} AND task_name = 'telemetry.tasks.roll_up'"
    with Worker(tmp_path) as worker:
        with rollups_locked(rollups.ADVISORY_LOCK):
            worker.until(lambda: query(rolling))
            assert worker.stop() == 0
        assert "a job still runs" in worker.said
    # The heartbeat has expired when the next worker starts.
    query("UPDATE procrastinate_workers SET last_heartbeat = now() - interval '1 minute'")
    with Worker(tmp_path) as worker:
        worker.until(lambda: queue_size() == 0)
        assert worker.stop() == 0


def test_a_purge_stops_quickly_and_the_next_worker_completes_it(tmp_path, device):
    store_many(device)
    device_services.soft_delete(device, now=timezone.now())
    add_job(app.tasks["telemetry.tasks.purge_deleted_devices"], timestamp=1)
    with Worker(tmp_path) as worker:
        worker.until(lambda: Purge.objects.filter(gone__gt=0) or not Device.objects.exists())
        assert worker.stop() == 0
        assert "a job still runs" not in worker.said
    assert query(DOING) == []
    query("DELETE FROM procrastinate_jobs WHERE status = 'todo'")
    add_job(app.tasks["telemetry.tasks.purge_deleted_devices"], timestamp=2)
    with Worker(tmp_path) as worker:
        worker.until(lambda: not Device.objects.filter(pk=device.pk))
    assert not Telemetry.objects.exists()


def test_a_data_export_stops_quickly_and_the_next_worker_builds_it(tmp_path, owner: User):
    store_many(DeviceFactory.create(user=owner))
    archive = data_exports.request_export(owner, now=timezone.now())
    add_job(app.tasks["telemetry_site.tasks.make_archives"], timestamp=1)
    draft = tmp_path / "archives" / f"{archive.pk}.draft"

    def begun() -> bool:
        archive.refresh_from_db()
        return (draft.exists() and draft.stat().st_size > 100_000) or archive.status == "ready"

    with Worker(tmp_path) as worker:
        worker.until(begun)
        assert worker.stop() == 0
        assert "a job still runs" not in worker.said
    assert query(DOING) == []
    assert not draft.exists()
    query("DELETE FROM procrastinate_jobs WHERE status = 'todo'")
    add_job(app.tasks["telemetry_site.tasks.make_archives"], timestamp=2)
    with Worker(tmp_path) as worker:
        worker.until(lambda: Archive.objects.filter(pk=archive.pk, status="ready"))


def test_rollups_stop_quickly_and_the_next_worker_completes_them(tmp_path, device):
    then = timezone.now() - timedelta(days=500)
    enqueue_hours(device, [then + timedelta(hours=number) for number in range(10_000)])
    before = queue_size()
    add_job(app.tasks["telemetry.tasks.roll_up"], timestamp=1)
    with Worker(tmp_path) as worker:
        worker.until(lambda: queue_size() < before)
        assert worker.stop() == 0
        assert "a job still runs" not in worker.said
    assert query(DOING) == []
    query("DELETE FROM procrastinate_jobs WHERE status = 'todo'")
    add_job(app.tasks["telemetry.tasks.roll_up"], timestamp=2)
    with Worker(tmp_path) as worker:
        worker.until(lambda: queue_size() == 0)
