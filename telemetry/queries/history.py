"""Readings as they were stored: by page, by id, the latest. Numbers over time: series.py."""

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
"""How many of a device's newest readings are searched for its types."""

LATEST_SQL = """
    SELECT reading.* FROM unnest(%s::uuid[]) AS device(id) CROSS JOIN LATERAL (
        SELECT DISTINCT ON (telemetry_type) * FROM (
            SELECT * FROM telemetry WHERE device_id = device.id
            ORDER BY recorded_at DESC, id DESC LIMIT %s
        ) newest ORDER BY telemetry_type, recorded_at DESC, id DESC
    ) reading
"""
TIME = """to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""
# Ids, types and times hold nothing that JSON would escape.
AS_JSON = f"""
    '{{"id": "' || id || '", "device_id": "' || device_id || '", "telemetry_type": "'
    || telemetry_type || '", "payload": ' || payload::text
    || ', "recorded_at": "' || {TIME.format("recorded_at")}
    || '", "created_at": "' || {TIME.format("created_at")} || '"}}'
"""
LAST_SEEN = """
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
                AND recorded_at >= %(rolled_until)s
        ) reading
    )
    SELECT DISTINCT ON (device_id, telemetry_type) * FROM found
    ORDER BY device_id, telemetry_type, recorded_at DESC, id DESC
"""
"""Where a type was last seen, and where nobody has looked yet: in the hours not rolled up. Since
when those are is said in the statement, as the planner has to know that they are few.
"""


class InvalidCursor(ValueError):
    """Not a cursor that `page` has given."""


class Page(NamedTuple):
    """Readings in order, and the cursor of the page after them."""

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
    """One page of history, newest first unless `ascending`; `end` is excluded.

    Raises InvalidCursor.
    """
    rows = _filtered(device, cursor, ascending, telemetry_type, start, end)[: limit + 1]
    found = list(rows)
    next = _encode(found[limit - 1].recorded_at, found[limit - 1].id) if found[limit:] else None
    return Page(found[:limit], next)


def cursor_of(reading: Telemetry) -> str:
    """The cursor of the page that begins behind this reading, in either order."""
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
    """The same as `page`, each reading as the JSON that an answer shows it by.

    PostgreSQL writes it several times as fast as a model, a serializer and a renderer would.
    """
    rows = _filtered(device, cursor, ascending, telemetry_type, start, end)
    found = list(rows.values_list(RawSQL(AS_JSON, []), flat=True)[: limit + 1])  # noqa: S611
    if len(found) <= limit:
        return found, None
    last = msgspec.json.decode(found[limit - 1])
    return found[:limit], _encode(timestamps.parse(last["recorded_at"]), UUID(last["id"]))


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
    """One reading of the device; the time in its id tells the partition. Raises DoesNotExist."""
    try:
        start, end = time_span_of(reading_id)
    except OverflowError:
        raise Telemetry.DoesNotExist from None
    return Telemetry.objects.get(
        device=device, recorded_at__gte=start, recorded_at__lt=end, id=reading_id
    )


def latest_readings(
    devices: Iterable[Device], *, depth: int = LATEST_DEPTH, rare: bool = True
) -> dict[UUID, list[Telemetry]]:
    """By device, the newest reading of each type, types in order.

    Types that are not among a device's `depth` newest readings are looked for where their keys
    were last seen, unless `rare` types need not be found. One that no hour is known of yet is left
    out: any reading but its newest would be wrong.
    """
    ids = [device.pk for device in devices]
    newest = {
        (reading.device_id, reading.telemetry_type): reading
        for reading in Telemetry.objects.raw(LATEST_SQL, [ids, depth])
    }
    if rare and (missing := _last_seen(ids, but=newest.keys())):
        arguments = {
            "devices": [device_id for device_id, *_ in missing],
            "types": [kind for _, kind, *_ in missing],
            "hours": [hour for _, _, hour, _ in missing],
            "rolled_until": missing[0][3],
        }
        for reading in Telemetry.objects.raw(RARE_TYPES_SQL, arguments):
            newest[reading.device_id, reading.telemetry_type] = reading
    found: dict[UUID, list[Telemetry]] = defaultdict(list)
    for (device_id, _), reading in sorted(newest.items()):
        found[device_id].append(reading)
    return found


def _last_seen(
    ids: list[UUID], *, but: Container[tuple[UUID, str]]
) -> list[tuple[UUID, str, datetime | None, datetime]]:
    """Every type of the devices, but for some, the newest hour that is known to have it, and up
    to where hours are known. At once, or an hour could close in between and be in neither.
    """
    with connection.cursor() as cursor:
        cursor.execute(LAST_SEEN, [ids])
        return [row for row in cursor.fetchall() if row[:2] not in but]


def _after(recorded_at: datetime, reading_id: UUID, *, ascending: bool) -> Q:
    # The bound on the time alone lets the planner skip the months on the other side.
    if ascending:
        return Q(recorded_at__gte=recorded_at) & (
            Q(recorded_at__gt=recorded_at) | Q(id__gt=reading_id)
        )
    return Q(recorded_at__lte=recorded_at) & (Q(recorded_at__lt=recorded_at) | Q(id__lt=reading_id))


def _encode(recorded_at: datetime, reading_id: UUID) -> str:
    place = struct.pack(">q16s", microseconds_of(recorded_at), reading_id.bytes)
    return base64.urlsafe_b64encode(place).decode()


def _decode(cursor: str) -> tuple[datetime, UUID]:
    try:
        microseconds, id_bytes = struct.unpack(">q16s", base64.urlsafe_b64decode(cursor))
        return EPOCH + timedelta(microseconds=microseconds), UUID(bytes=id_bytes)
    except (ValueError, OverflowError, binascii.Error, struct.error):
        raise InvalidCursor from None
