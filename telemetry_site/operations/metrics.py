"""`/metrics` for Prometheus: the counters of all processes and the state of the database.

With METRICS_TOKEN, requests need the token; without it, they must come directly from this machine.
All other requests get 404.
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
    "readings": ("Readings by outcome: accepted, duplicate, rejected.", ["outcome"]),
    "refused": ("Rejected requests and readings by error code.", ["code"]),
    "live_answers": ("Responses of the live process by endpoint and status.", ["door", "status"]),
}
PRESENT = {
    "live_waiting": "Open long polls of devices at the live process.",
    "live_streams": "Open event streams.",
}
GAUGES = {
    "commands_pending": "Pending commands.",
    "command_oldest_seconds": "Age of the oldest pending command.",
    "rollup_lag_seconds": "Seconds since the end of the last hour that is rolled up.",
    "rollup_queue_rows": "Past hours in the queue of rollups; counted up to 100,000.",
    "database_connections_max": "Maximum connections of PostgreSQL.",
    "database_size_bytes": "Size of this database on disk.",
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
    """Return all metrics in the text format of Prometheus."""
    registry = CollectorRegistry()
    for collector in (_Counted(), _Database(), _Disk()):
        registry.register(collector)
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def is_allowed(request: HttpRequest) -> bool:
    """Return whether the request has METRICS_TOKEN or, without one set, comes directly from this
    machine.
    """
    if settings.METRICS_TOKEN:
        expected = f"Bearer {settings.METRICS_TOKEN}"
        return constant_time_compare(request.META.get("HTTP_AUTHORIZATION", ""), expected)
    through_proxy = any(header in request.META for header in PROXIED)
    return request.META.get("REMOTE_ADDR") in LOCAL_HOSTS and not through_proxy


class _Counted(Collector):
    """The counters of all processes since the start of the site."""

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
            "Response time by endpoint and status.",
            labels=["door", "status"],
        )
        for key, buckets in found.durations:
            *each, total = buckets
            durations.add_metric(key, _cumulative(each), sum_value=total)
        yield durations


def _cumulative(each: list[float]) -> list[tuple[str, float]]:
    so_far, buckets = 0.0, []
    for bound, count in zip([*map(str, metrics_store.BUCKET_BOUNDS), "+Inf"], each, strict=True):
        so_far += count
        buckets.append((bound, so_far))
    return buckets


class _Database(Collector):
    """Metrics that need the database; only `database_up 0` without it."""

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("telemetry_database_up", "Whether the database responds.")
        try:
            found = list(self._query())
            up.add_metric([], 1)
        except Error:
            found = []
            up.add_metric([], 0)
        yield up
        yield from found

    def _query(self) -> Iterator[Metric]:
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
        stalled = "Jobs whose worker is lost and that are not queued again yet."
        yield GaugeMetricFamily("telemetry_jobs_stalled", stalled, value=jobs.count_stalled())


class _Disk(Collector):
    def collect(self) -> Iterator[Metric]:
        free = shutil.disk_usage(settings.DATA_DIR).free
        help = "Free bytes on the disk of DATA_DIR."
        yield GaugeMetricFamily("telemetry_disk_free_bytes", help, value=free)


def _rows(sql: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())
