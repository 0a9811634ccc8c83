"""What staff see first: how the site is doing. A few statements, however much is stored."""

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

LATE = timedelta(minutes=2)
"""After which a job that nobody has begun is late; the most frequent come every ten seconds."""
FORECAST_LIMIT_DAYS = 10 * 365
"""Days; nobody knows what comes after."""
WORKER_SILENT = timedelta(minutes=2)
REFUSALS_SHOWN = 5


class Jobs(NamedTuple):
    """How the worker keeps up."""

    failed: int
    late: int
    stalled: int
    failing: list[str]
    heartbeat: datetime | None
    alive: bool


class Disk(NamedTuple):
    """Bytes; `free` where the database is on this machine, `days` until that is used up, but
    no more than FORESEEN.
    """

    sizes: storage_stats.Sizes
    a_day: float | None
    free: int | None
    days: int | None


def overview_context(now: datetime) -> dict[str, Any]:
    """Everything that the index shows."""
    return {
        "devices": devices(now),
        "rate": storage_stats.ingest_rate(),
        "oldest": Command.objects.waiting(now).select_related("device").first(),
        "jobs": jobs(now),
        "disk": disk(now),
        "refusals": refusals(now),
    }


def devices(now: datetime) -> dict[str, int]:
    """How many devices there are, by status."""
    online = is_online(now)
    return Device.objects.filter(deleted_at=None).aggregate(
        all=Count("pk"),
        online=Count("pk", filter=online),
        offline=Count("pk", filter=Q(last_seen_at__isnull=False) & ~online),
        never=Count("pk", filter=Q(last_seen_at=None)),
        deactivated=Count("pk", filter=Q(deactivated_at__isnull=False)),
    )


def refusals(now: datetime) -> list[tuple[Refusal, int]]:
    """Why devices were refused most often, of what was refused in the last day: the last time of
    each reason, and how often it was since those devices are known.
    """
    recent = Refusal.objects.filter(last_at__gte=now - timedelta(days=1), device__deleted_at=None)
    totals = {row["code"]: row["total"] for row in recent.by_code()[:REFUSALS_SHOWN]}
    newest = recent.filter(code__in=totals).order_by("code", "-last_at").distinct("code")
    last = {refusal.code: refusal for refusal in newest.select_related("device")}
    return [(last[code], total) for code, total in totals.items() if code in last]


def jobs(now: datetime) -> Jobs:
    """The jobs that have failed or wait too long, and when a worker was last heard of."""
    due = now - LATE
    waiting = ProcrastinateJob.objects.filter(Q(scheduled_at=None) | Q(scheduled_at__lte=due))
    # When a job without a time was made, its events alone tell.
    since = waiting.filter(status="todo").annotate(since=Max("procrastinateevent__at"))
    failed = ProcrastinateJob.objects.filter(status="failed").order_by()
    by_task = dict(failed.values_list("task_name").annotate(Count("pk")))
    heartbeat = ProcrastinateWorker.objects.aggregate(last=Max("last_heartbeat"))["last"]
    return Jobs(
        failed=sum(by_task.values()),
        late=since.filter(since__lte=due).count(),
        stalled=count_stalled(),
        failing=sorted(name.rpartition(".")[2] for name in by_task),
        heartbeat=heartbeat,
        alive=heartbeat is not None and heartbeat > now - WORKER_SILENT,
    )


def disk(now: datetime) -> Disk:
    """What is taken up, how fast it grows, and until when there is room on this machine."""
    sizes = storage_stats.sizes()
    a_day = storage_stats.daily_growth(sizes, now)
    embedded = settings.DATABASES["default"]["ENGINE"] == "common.db.embedded"
    free = shutil.disk_usage(settings.DATA_DIR).free if embedded else None
    days = int(free / a_day) if free is not None and a_day else None
    days = min(days, FORECAST_LIMIT_DAYS) if days is not None else None
    return Disk(sizes, a_day, free, days)
