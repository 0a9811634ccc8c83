"""Readings as they were stored: by page, by id, the latest. Numbers over time: series.py."""

import base64
import binascii
import struct
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from django.db.models import Q

from devices.models import Device
from telemetry.models import Telemetry
from telemetry.readings import EPOCH, microseconds_of, time_span_of

LATEST_DEPTH = 200
"""How many of a device's newest readings are searched for its types."""


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
    rows = Telemetry.objects.filter(device=device)
    if telemetry_type:
        rows = rows.filter(telemetry_type=telemetry_type)
    if start:
        rows = rows.filter(recorded_at__gte=start)
    if end:
        rows = rows.filter(recorded_at__lt=end)
    if cursor:
        rows = rows.filter(_beyond(*_decode(cursor), ascending=ascending))
    order = ("recorded_at", "id") if ascending else ("-recorded_at", "-id")
    found = list(rows.order_by(*order)[: limit + 1])
    more = len(found) > limit
    return Page(found[:limit], _encode(found[limit - 1]) if more else None)


def get(device: Device, reading_id: UUID) -> Telemetry:
    """One reading of the device; the time in its id tells the partition. Raises DoesNotExist."""
    try:
        start, end = time_span_of(reading_id)
    except OverflowError:
        raise Telemetry.DoesNotExist from None
    return Telemetry.objects.get(
        device=device, recorded_at__gte=start, recorded_at__lt=end, id=reading_id
    )


def latest(devices: Iterable[Device], *, depth: int = LATEST_DEPTH) -> dict[UUID, list[Telemetry]]:
    """By device, the newest reading of each type among its `depth` newest, types in order."""
    query = """
        SELECT reading.* FROM unnest(%s::uuid[]) AS device(id) CROSS JOIN LATERAL (
            SELECT DISTINCT ON (telemetry_type) * FROM (
                SELECT * FROM telemetry WHERE device_id = device.id
                ORDER BY recorded_at DESC, id DESC LIMIT %s
            ) newest ORDER BY telemetry_type, recorded_at DESC, id DESC
        ) reading
    """
    found: dict[UUID, list[Telemetry]] = defaultdict(list)
    for reading in Telemetry.objects.raw(query, [[device.pk for device in devices], depth]):
        found[reading.device_id].append(reading)
    return found


def _beyond(recorded_at: datetime, reading_id: UUID, *, ascending: bool) -> Q:
    # The bound on the time alone lets the planner skip the months on the other side.
    if ascending:
        return Q(recorded_at__gte=recorded_at) & (
            Q(recorded_at__gt=recorded_at) | Q(id__gt=reading_id)
        )
    return Q(recorded_at__lte=recorded_at) & (Q(recorded_at__lt=recorded_at) | Q(id__lt=reading_id))


def _encode(reading: Telemetry) -> str:
    place = struct.pack(">q16s", microseconds_of(reading.recorded_at), reading.id.bytes)
    return base64.urlsafe_b64encode(place).decode()


def _decode(cursor: str) -> tuple[datetime, UUID]:
    try:
        microseconds, id_bytes = struct.unpack(">q16s", base64.urlsafe_b64decode(cursor))
        return EPOCH + timedelta(microseconds=microseconds), UUID(bytes=id_bytes)
    except (ValueError, OverflowError, binascii.Error, struct.error):
        raise InvalidCursor from None
