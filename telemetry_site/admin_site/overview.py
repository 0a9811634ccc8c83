"""The overview on the admin index. The number of queries does not depend on the stored data."""

import shutil
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.conf import settings
from django.db.models import Count, Max, Q
from procrastinate.contrib.django.models import ProcrastinateJob, ProcrastinateWorker

from commands.models import Command
from devices.models import Device, Refusal, is_online
from telemetry.queries import storage_stats
from telemetry_site.operations.jobs import count_stalled

LATE_AFTER = timedelta(minutes=2)
"""A job that has not started after this time is late; the most frequent run every ten seconds."""
FORECAST_LIMIT_DAYS = 10 * 365
"""A longer forecast would not be reliable."""
WORKER_TIMEOUT = timedelta(minutes=2)
MAX_REFUSALS_DISPLAYED = 5


class Jobs(NamedTuple):
    """The state of the worker and its jobs."""

    failed: int
    late: int
    stalled: int
    failing: list[str]
    heartbeat: datetime | None
    alive: bool


class Disk(NamedTuple):
    """Sizes in bytes. `free` only with a database on this machine. `days` until the disk is full,
    at most FORECAST_LIMIT_DAYS.
    """

    sizes: storage_stats.Sizes
    a_day: float | None
    free: int | None
    days: int | None


def overview_context(now: datetime) -> dict[str, Any]:
    """Return the context of the overview."""
    return {
        "devices": devices(now),
        "rate": storage_stats.ingest_rate(),
        "oldest": Command.objects.pending_at(now).select_related("device").first(),
        "jobs": jobs(now),
        "disk": disk(now),
        "refusals": refusals(now),
    }


def devices(now: datetime) -> dict[str, int]:
    """Return the number of devices by status."""
    online = is_online(now)
    return Device.objects.filter(deleted_at=None).aggregate(
        all=Count("pk"),
        online=Count("pk", filter=online),
        offline=Count("pk", filter=Q(last_seen_at__isnull=False) & ~online),
        never=Count("pk", filter=Q(last_seen_at=None)),
        deactivated=Count("pk", filter=Q(deactivated_at__isnull=False)),
    )


def refusals(now: datetime) -> list[tuple[Refusal, int]]:
    """Return the most frequent reasons of the requests that were rejected in the last day. Each has
    its newest rejection and the total count of its devices.
    """
    recent = Refusal.objects.filter(last_at__gte=now - timedelta(days=1), device__deleted_at=None)
    totals = {row["code"]: row["total"] for row in recent.totals_by_code()[:MAX_REFUSALS_DISPLAYED]}
    newest = recent.filter(code__in=totals).order_by("code", "-last_at").distinct("code")
    last = {refusal.code: refusal for refusal in newest.select_related("device")}
    return [(last[code], total) for code, total in totals.items() if code in last]


def jobs(now: datetime) -> Jobs:
    """Return the failed, late and stalled jobs, and the last heartbeat of a worker."""
    latest = now - LATE_AFTER
    due = ProcrastinateJob.objects.filter(Q(scheduled_at=None) | Q(scheduled_at__lte=latest))
    # Only its events have the time at which a job without `scheduled_at` was queued.
    queued = due.filter(status="todo").annotate(since=Max("procrastinateevent__at"))
    failed = ProcrastinateJob.objects.filter(status="failed").order_by()
    by_task = dict(failed.values_list("task_name").annotate(Count("pk")))
    heartbeat = ProcrastinateWorker.objects.aggregate(last=Max("last_heartbeat"))["last"]
    return Jobs(
        failed=sum(by_task.values()),
        late=queued.filter(since__lte=latest).count(),
        stalled=count_stalled(),
        failing=sorted(name.rpartition(".")[2] for name in by_task),
        heartbeat=heartbeat,
        alive=heartbeat is not None and heartbeat > now - WORKER_TIMEOUT,
    )


def disk(now: datetime) -> Disk:
    """Return the used space, its growth per day, and the days until the disk is full."""
    sizes = storage_stats.sizes()
    a_day = storage_stats.daily_growth(sizes, now)
    embedded = settings.DATABASES["default"]["ENGINE"] == "common.db.embedded"
    free = shutil.disk_usage(settings.DATA_DIR).free if embedded else None
    days = int(free / a_day) if free is not None and a_day else None
    days = min(days, FORECAST_LIMIT_DAYS) if days is not None else None
    return Disk(sizes, a_day, free, days)
