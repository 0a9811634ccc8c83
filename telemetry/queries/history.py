"""Stored readings: by page, by id, and the latest. See series.py for values over time."""

import base64
import binascii
import struct
from collections import defaultdict
from collections.abc import Container, Iterable
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import msgspec
from django.db import connection
from django.db.models import Q, QuerySet
from django.db.models.expressions import RawSQL

from common import timestamps
from devices.models import Device
from telemetry.ingest.validation import EPOCH, microseconds_of, time_span_of
from telemetry.models import Telemetry

LATEST_DEPTH = 200
"""Number of newest readings of a device that are searched for its types."""

LATEST_SQL = """
    SELECT reading.* FROM unnest(%s::uuid[]) AS device(id) CROSS JOIN LATERAL (
        SELECT DISTINCT ON (telemetry_type) * FROM (
            SELECT * FROM telemetry WHERE device_id = device.id
            ORDER BY recorded_at DESC, id DESC LIMIT %s
        ) newest ORDER BY telemetry_type, recorded_at DESC, id DESC
    ) reading
"""
TIME_SQL = """to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""
# Ids, types and times contain no character that JSON would escape.
READING_AS_JSON_SQL = f"""
    '{{"id": "' || id || '", "device_id": "' || device_id || '", "telemetry_type": "'
    || telemetry_type || '", "payload": ' || payload::text
    || ', "recorded_at": "' || {TIME_SQL.format("recorded_at")}
    || '", "created_at": "' || {TIME_SQL.format("created_at")} || '"}}'
"""
LAST_SEEN_SQL = """
    SELECT device_id, telemetry_type, max(last_hour), (SELECT hour FROM telemetry_rolled_until)
    FROM telemetry_keys WHERE device_id = ANY (%s) GROUP BY device_id, telemetry_type
"""
RARE_TYPES_SQL = """
    WITH missing AS MATERIALIZED (
        SELECT * FROM unnest(%(devices)s::uuid[], %(types)s::text[], %(hours)s::timestamptz[])
            AS missing(device_id, telemetry_type, hour)
    ), found AS (
        SELECT reading.* FROM missing CROSS JOIN LATERAL (
            SELECT * FROM telemetry
            WHERE device_id = missing.device_id AND telemetry_type = missing.telemetry_type
                AND recorded_at >= hour AND recorded_at < hour + interval '1 hour'
            ORDER BY recorded_at DESC, id DESC LIMIT 1
        ) reading
        UNION ALL
        SELECT reading.* FROM (
            SELECT device_id, array_agg(telemetry_type) AS types FROM missing GROUP BY device_id
        ) device CROSS JOIN LATERAL (
            SELECT * FROM telemetry WHERE device_id = device.device_id
                AND telemetry_type = ANY (types)
                AND recorded_at >= %(rollup_watermark)s
        ) reading
    )
    SELECT DISTINCT ON (device_id, telemetry_type) * FROM found
    ORDER BY device_id, telemetry_type, recorded_at DESC, id DESC
"""
"""Search the hour in which a type was last seen, and all hours after the rollup watermark. The
watermark is a parameter so that the planner knows that these hours are few.
"""


class InvalidCursor(ValueError):
    """The cursor was not created by `page`."""


class Page(NamedTuple):
    """Readings in order, and the cursor of the next page."""

    readings: list[Telemetry]
    next: str | None


def page(
    device: Device,
    *,
    limit: int,
    cursor: str = "",
    ascending: bool = False,
    telemetry_type: str = "",
    start: datetime | None = None,
    end: datetime | None = None,
) -> Page:
    """Return one page of readings, newest first unless `ascending`; `end` is excluded.

    Raises InvalidCursor.
    """
    rows = _filtered(device, cursor, ascending, telemetry_type, start, end)[: limit + 1]
    readings = list(rows)
    next = (
        _encode(readings[limit - 1].recorded_at, readings[limit - 1].id)
        if readings[limit:]
        else None
    )
    return Page(readings[:limit], next)


def cursor_of(reading: Telemetry) -> str:
    """Return the cursor of the page that starts after this reading, in either order."""
    return _encode(reading.recorded_at, reading.id)


def page_as_json(
    device: Device,
    *,
    limit: int,
    cursor: str = "",
    ascending: bool = False,
    telemetry_type: str = "",
    start: datetime | None = None,
    end: datetime | None = None,
) -> tuple[list[str], str | None]:
    """Like `page`, but return each reading as the JSON of the API response.

    PostgreSQL builds this JSON several times as fast as a model, a serializer and a renderer.
    """
    rows = _filtered(device, cursor, ascending, telemetry_type, start, end)
    readings = list(rows.values_list(RawSQL(READING_AS_JSON_SQL, []), flat=True)[: limit + 1])  # noqa: S611
    if len(readings) <= limit:
        return readings, None
    last = msgspec.json.decode(readings[limit - 1])
    return readings[:limit], _encode(timestamps.parse(last["recorded_at"]), UUID(last["id"]))


def _filtered(
    device: Device,
    cursor: str,
    ascending: bool,
    telemetry_type: str,
    start: datetime | None,
    end: datetime | None,
) -> QuerySet[Telemetry]:
    rows = Telemetry.objects.filter(device=device)
    if telemetry_type:
        rows = rows.filter(telemetry_type=telemetry_type)
    if start:
        rows = rows.filter(recorded_at__gte=start)
    if end:
        rows = rows.filter(recorded_at__lt=end)
    if cursor:
        rows = rows.filter(_after(*_decode(cursor), ascending=ascending))
    order = ("recorded_at", "id") if ascending else ("-recorded_at", "-id")
    return rows.order_by(*order)


def get(device: Device, reading_id: UUID) -> Telemetry:
    """Return one reading of the device. Raises Telemetry.DoesNotExist.

    The time in the id gives the partition to search.
    """
    try:
        start, end = time_span_of(reading_id)
    except OverflowError:
        raise Telemetry.DoesNotExist from None
    return Telemetry.objects.get(
        device=device, recorded_at__gte=start, recorded_at__lt=end, id=reading_id
    )


def latest_readings(
    devices: Iterable[Device], *, depth: int = LATEST_DEPTH, include_rare_types: bool = True
) -> dict[UUID, list[Telemetry]]:
    """Return by device the newest reading of each type, ordered by type.

    With `include_rare_types`, a type that is not among the `depth` newest readings is searched in
    the hour in which its keys were last seen. A type without such an hour is omitted, because an
    older reading would be wrong.
    """
    ids = [device.pk for device in devices]
    newest = {
        (reading.device_id, reading.telemetry_type): reading
        for reading in Telemetry.objects.raw(LATEST_SQL, [ids, depth])
    }
    if include_rare_types and (missing := _last_seen(ids, exclude=newest.keys())):
        params = {
            "devices": [device_id for device_id, *_ in missing],
            "types": [telemetry_type for _, telemetry_type, *_ in missing],
            "hours": [hour for _, _, hour, _ in missing],
            "rollup_watermark": missing[0][3],
        }
        for reading in Telemetry.objects.raw(RARE_TYPES_SQL, params):
            newest[reading.device_id, reading.telemetry_type] = reading
    by_device: dict[UUID, list[Telemetry]] = defaultdict(list)
    for (device_id, _), reading in sorted(newest.items()):
        by_device[device_id].append(reading)
    return by_device


def _last_seen(
    ids: list[UUID], *, exclude: Container[tuple[UUID, str]]
) -> list[tuple[UUID, str, datetime | None, datetime]]:
    """Return every type except the excluded ones, its newest known hour, and the rollup watermark.

    One statement reads all of this. Otherwise an hour could close in between and be missed.
    """
    with connection.cursor() as cursor:
        cursor.execute(LAST_SEEN_SQL, [ids])
        return [row for row in cursor.fetchall() if row[:2] not in exclude]


def _after(recorded_at: datetime, reading_id: UUID, *, ascending: bool) -> Q:
    # The condition on recorded_at alone lets the planner skip partitions.
    if ascending:
        return Q(recorded_at__gte=recorded_at) & (
            Q(recorded_at__gt=recorded_at) | Q(id__gt=reading_id)
        )
    return Q(recorded_at__lte=recorded_at) & (Q(recorded_at__lt=recorded_at) | Q(id__lt=reading_id))


def _encode(recorded_at: datetime, reading_id: UUID) -> str:
    position = struct.pack(">q16s", microseconds_of(recorded_at), reading_id.bytes)
    return base64.urlsafe_b64encode(position).decode()


def _decode(cursor: str) -> tuple[datetime, UUID]:
    try:
        microseconds, id_bytes = struct.unpack(">q16s", base64.urlsafe_b64decode(cursor))
        return EPOCH + timedelta(microseconds=microseconds), UUID(bytes=id_bytes)
    except (ValueError, OverflowError, binascii.Error, struct.error):
        raise InvalidCursor from None
