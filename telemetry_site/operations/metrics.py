"""`/metrics`, for Prometheus: what the processes have counted, and how the database is doing.

For whoever asks on this machine itself, or brings METRICS_TOKEN; for everybody else there is
nothing here.
"""

import shutil
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.db import Error, connection
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Metric, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.registry import Collector

from common import metrics_store
from telemetry_site.operations import jobs

PATH = "/metrics"
LOCAL_HOSTS = {"127.0.0.1", "::1"}
PROXIED = ("HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO", "HTTP_FORWARDED", "HTTP_VIA")

COUNTERS = {
    "readings": ("Readings by what became of them: accepted, duplicate, rejected.", ["outcome"]),
    "refused": ("Requests or readings refused, by the code of the fault or problem.", ["code"]),
    "live_answers": ("Answers of the live process, by door and status.", ["door", "status"]),
}
PRESENT = {
    "live_waiting": "Devices that wait for a command at the live process.",
    "live_streams": "Streams of events that are open.",
}
GAUGES = {
    "commands_pending": "Commands that wait to be fetched or answered.",
    "command_oldest_seconds": "Age of the oldest of them.",
    "rollup_lag_seconds": "Since the end of the last hour that is rolled up.",
    "rollup_queue_rows": "Past hours marked to be rolled up again; counted up to 100,000.",
    "database_connections_max": "As many as PostgreSQL lets in.",
    "database_size_bytes": "Of this database on its disk.",
}
STATE = """
    SELECT
        (SELECT count(*) FROM commands WHERE status = 'pending' AND expires_at > now()),
        (SELECT coalesce(extract(epoch FROM now() - min(created_at)), 0)
            FROM commands WHERE status = 'pending' AND expires_at > now()),
        (SELECT extract(epoch FROM now() - hour) FROM telemetry_rolled_until),
        (SELECT count(*) FROM (SELECT FROM telemetry_dirty LIMIT 100000) AS marks),
        current_setting('max_connections')::int,
        pg_database_size(current_database())
"""
CONNECTIONS = """
    SELECT coalesce(state, 'other'), count(*) FROM pg_stat_activity
    WHERE datname = current_database() GROUP BY 1 ORDER BY 1
"""
JOBS = "SELECT status::text, count(*) FROM procrastinate_jobs GROUP BY 1 ORDER BY 1"


def metrics_response() -> HttpResponse:
    """All metrics, in the text format."""
    registry = CollectorRegistry()
    for collector in (_Counted(), _Database(), _Disk()):
        registry.register(collector)
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def is_allowed(request: HttpRequest) -> bool:
    """Whether whoever asks is on this machine and came straight here, or brings METRICS_TOKEN."""
    if settings.METRICS_TOKEN:
        expected = f"Bearer {settings.METRICS_TOKEN}"
        return constant_time_compare(request.META.get("HTTP_AUTHORIZATION", ""), expected)
    through_proxy = any(header in request.META for header in PROXIED)
    return request.META.get("REMOTE_ADDR") in LOCAL_HOSTS and not through_proxy


class _Counted(Collector):
    """What the processes counted since the site was started."""

    def collect(self) -> Iterator[Metric]:
        found = metrics_store.aggregate(settings.METRICS_DIR)
        for name, (help, labels) in COUNTERS.items():
            family = CounterMetricFamily(f"telemetry_{name}", help, labels=labels)
            for key, count in found.totals:
                if key[0] == name:
                    family.add_metric(key[1:], count)
            yield family
        present = dict(found.present)
        for name, help in PRESENT.items():
            yield GaugeMetricFamily(f"telemetry_{name}", help, value=present.get((name,), 0))
        durations = HistogramMetricFamily(
            "telemetry_request_seconds",
            "Time to the answer, by door and status.",
            labels=["door", "status"],
        )
        for key, buckets in found.durations:
            *each, total = buckets
            durations.add_metric(key, _cumulative(each), sum_value=total)
        yield durations


def _cumulative(each: list[float]) -> list[tuple[str, float]]:
    so_far, buckets = 0.0, []
    for bound, count in zip([*map(str, metrics_store.BOUNDS), "+Inf"], each, strict=True):
        so_far += count
        buckets.append((bound, so_far))
    return buckets


class _Database(Collector):
    """What only the database knows; nothing but `database_up 0` while it is away."""

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("telemetry_database_up", "Whether the database answers.")
        try:
            found = list(self._asked())
            up.add_metric([], 1)
        except Error:
            found = []
            up.add_metric([], 0)
        yield up
        yield from found

    def _asked(self) -> Iterator[Metric]:
        (state,) = _rows(STATE)
        for (name, help), value in zip(GAUGES.items(), state, strict=True):
            yield GaugeMetricFamily(f"telemetry_{name}", help, value=float(value))
        for name, help, sql, label in (
            ("database_connections", "Connections to this database.", CONNECTIONS, "state"),
            ("jobs", "Jobs of the worker.", JOBS, "status"),
        ):
            family = GaugeMetricFamily(f"telemetry_{name}", help, labels=[label])
            for value, count in _rows(sql):
                family.add_metric([value], count)
            yield family
        stalled = "Jobs that lost their worker and are not queued again yet."
        yield GaugeMetricFamily("telemetry_jobs_stalled", stalled, value=jobs.count_stalled())


class _Disk(Collector):
    def collect(self) -> Iterator[Metric]:
        free = shutil.disk_usage(settings.DATA_DIR).free
        yield GaugeMetricFamily("telemetry_disk_free_bytes", "Below DATA_DIR.", value=free)


def _rows(sql: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())
