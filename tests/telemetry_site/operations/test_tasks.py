"""The periodic tasks of the worker and their schedules."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils import timezone
from procrastinate.contrib.django import app
from procrastinate.exceptions import JobAborted

import commands.tasks
import devices.tasks
import telemetry.tasks
import telemetry_site.tasks
from accounts.models import Session, User
from devices import events
from devices import services as device_services
from devices.models import Device, Watch
from telemetry.models import Telemetry
from tests.factories import CommandFactory, DeviceFactory, UserFactory, store_reading
from tests.telemetry.retention_rules import create_rule, set_rolled_up

pytestmark = pytest.mark.django_db

RUNNING: Any = SimpleNamespace(should_abort=lambda: False)
"""The context of a job that is not stopped."""
STOPPING: Any = SimpleNamespace(should_abort=lambda: True)


def test_a_silent_device_is_announced_as_offline() -> None:
    long_ago = timezone.now() - timedelta(hours=1)
    device = DeviceFactory.create(status="online", last_seen_at=long_ago)
    devices.tasks.announce_offline(timestamp=0)
    device.refresh_from_db()
    assert device.status == "offline"


def test_expired_watches_are_deleted(owner: User) -> None:
    other = UserFactory.create()
    events.mark_watched(owner.pk)
    events.mark_watched(other.pk)
    Watch.objects.filter(user=owner).update(until=timezone.now() - timedelta(minutes=1))
    devices.tasks.forget_watches(timestamp=0)
    assert Watch.objects.get().user == other


def test_an_expired_command_fails() -> None:
    then = timezone.now() - timedelta(hours=2)
    command = CommandFactory.create(created_at=then, expires_at=then + timedelta(hours=1))
    commands.tasks.expire_commands(timestamp=0)
    command.refresh_from_db()
    assert (command.status, command.reason) == ("failed", "expired")


def test_a_deleted_device_is_purged(device: Device) -> None:
    store_reading(device)
    device_services.soft_delete(device, now=timezone.now())
    telemetry.tasks.purge_deleted_devices(RUNNING, timestamp=0)
    assert not Device.objects.exists()
    assert not Telemetry.objects.exists()


def test_partitions_are_created_in_advance() -> None:
    telemetry.tasks.make_months_ahead(timestamp=0)
    store_reading(DeviceFactory.create(), recorded_at=timezone.now() + timedelta(days=80))


def test_expired_readings_are_deleted(device: Device) -> None:
    today = timezone.now()
    store_reading(device, recorded_at=today - timedelta(days=40))
    kept = store_reading(device, recorded_at=today - timedelta(days=20))
    set_rolled_up(today)
    create_rule(30)
    telemetry.tasks.apply_retention(RUNNING, timestamp=0)
    assert Telemetry.objects.get().pk == kept.pk


def test_interrupted_retention_is_retried_and_failed_retention_is_not(
    device: Device,
) -> None:
    today = timezone.now()
    store_reading(device, recorded_at=today - timedelta(days=40))
    set_rolled_up(today)
    create_rule(30)
    task: Any = telemetry.tasks.apply_retention
    with pytest.raises(JobAborted) as caught:
        task(STOPPING, timestamp=0)
    assert Telemetry.objects.exists()
    job = task.configure().job
    assert task.get_retry_exception(exception=caught.value, job=job)
    assert not task.get_retry_exception(exception=ValueError(), job=job)
    task(RUNNING, timestamp=0)
    assert not Telemetry.objects.exists()


def test_expired_sessions_are_deleted() -> None:
    now = timezone.now()

    def session(number: int, *, seen: timedelta, left: timedelta) -> Session:
        times = {"created_at": now - seen, "last_seen_at": now - seen, "expires_at": now + left}
        return Session.objects.create(key_hash=bytes([number]) * 32, **times)

    session(1, seen=timedelta(0), left=timedelta(seconds=-1))
    session(2, seen=timedelta(hours=12), left=timedelta(days=1))
    living = session(3, seen=timedelta(hours=11), left=timedelta(seconds=60))
    telemetry_site.tasks.clear_sessions(timestamp=0)
    assert Session.objects.get() == living


def test_each_task_has_its_schedule() -> None:
    times = {
        name: periodic.cron for (name, _), periodic in app.periodic_registry.periodic_tasks.items()
    }
    assert times == {
        "accounts.tasks.delete_expired_registrations_and_counters": "37 * * * *",
        "accounts.tasks.forget_old_audit_events": "37 3 * * *",
        "commands.tasks.expire_commands": "* * * * * */30",
        "devices.tasks.announce_offline": "* * * * * */30",
        "devices.tasks.forget_watches": "37 * * * *",
        "telemetry.tasks.apply_retention": "23 3 * * *",
        "telemetry.tasks.drop_empty_partitions": "43 3 * * *",
        "telemetry.tasks.forget_old_deliveries": "17 3 * * *",
        "telemetry.tasks.make_months_ahead": "7 3 * * *",
        "telemetry.tasks.purge_deleted_devices": "* * * * *",
        "telemetry.tasks.roll_up": "* * * * * */10",
        "telemetry_site.tasks.clean_archives": "47 * * * *",
        "telemetry_site.tasks.clear_users_who_left": "* * * * *",
        "telemetry_site.tasks.make_archives": "* * * * * */10",
        "telemetry_site.tasks.clear_sessions": "17 * * * *",
        "telemetry_site.tasks.remove_old_jobs": "27 * * * *",
    }
