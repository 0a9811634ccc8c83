"""Queries for series by step."""

from telemetry.queries import series
from telemetry.rollups.build import HOUR
from tests.factories import NOW

HOURS, DAYS = 3600, 24 * 3600


def query_series(device, key="environment.t", start=NOW, end=NOW + HOUR, step=HOURS, **how):
    return series.query_series_by_step(device, keys=[key], start=start, end=end, step=step, **how)


def query_columns(device, key="environment.t", **how):
    found = query_series(device, key, **how).columns[key]
    return list(zip(found.avg, found.min, found.max, found.count, strict=True))
