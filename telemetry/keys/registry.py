"""The keys of a device: the paths its values come under, and how people want to see them.

Ingest registers what it is about to store, so that the keys of every stored reading are known.
Units and decimals that nobody chose are told by the name each time they are shown.
"""

import random
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import partial
from time import monotonic
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Q

from common.random_cache import RandomCache
from devices.models import Device
from telemetry.keys import units
from telemetry.models import Key

PATH = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
"""Of a value that can be charted; after a telemetry type and a point it is a key."""
DIGITS = re.compile(r"(\d+)", re.ASCII)
NO_UNIT = "1"
"""The unit of a mere number (UCUM): says that the one told by the name is wrong."""

REGISTER = """
    WITH sent AS MATERIALIZED (
        SELECT * FROM unnest(%(types)s::text[], %(paths)s::text[], %(since)s::timestamptz[])
            AS sent(telemetry_type, key, since)
    ), older AS MATERIALIZED (
        SELECT telemetry_type, key, sent.since
        FROM sent JOIN telemetry_keys AS known USING (telemetry_type, key)
        WHERE known.device_id = %(device)s AND sent.since < known.since
        ORDER BY telemetry_type, key FOR NO KEY UPDATE OF known
    ), corrected AS (
        UPDATE telemetry_keys AS known SET since = older.since FROM older
        WHERE known.device_id = %(device)s
            AND (known.telemetry_type, known.key) = (older.telemetry_type, older.key)
    ), known AS MATERIALIZED (
        SELECT telemetry_type, key FROM telemetry_keys WHERE device_id = %(device)s
    )
    INSERT INTO telemetry_keys (device_id, telemetry_type, key, since, label, unit)
    SELECT %(device)s, telemetry_type, key, since, '', '' FROM sent
    WHERE (telemetry_type, key) NOT IN (SELECT * FROM known)
    ORDER BY telemetry_type, key
    LIMIT greatest(0, %(most)s - (SELECT count(*) FROM known))
    ON CONFLICT DO NOTHING
"""

CACHE_SECONDS = 3600
"""Seconds. So long a process may take for known what is so no more, after a database was put back
to what it was, say. Each shape is forgotten by itself, after half of this time at the earliest: if
all were forgotten at once, all devices would leave the fast path at once."""
NEVER = datetime.max.replace(tzinfo=UTC)
_known_shapes: RandomCache[int, tuple[datetime, float]] = RandomCache(settings.KEY_CACHE_SIZE)
"""By the hash of a device, a type and all its paths: since when they are known to be registered,
and when this is forgotten. By the hash alone, as the paths of one reading may be as large as its
payload."""


class DisplayFormat(NamedTuple):
    """How a value is shown. `decimals` is None where nothing tells how many are worth it."""

    label: str
    unit: str
    decimals: int | None

    def of(self, value: object) -> "DisplayFormat":
        """How this value is shown: what is no number has only its name."""
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return self if is_number else DisplayFormat(self.label, "", None)


class DisplayFormats(dict[tuple[str, str], DisplayFormat]):
    """How the values of a device are shown, by type and path: as chosen, else by the name."""

    def __missing__(self, key: tuple[str, str]) -> DisplayFormat:
        return guess_format(key[1])


def register_keys(device: Device, shapes: Iterable[tuple[str, tuple[str, ...], datetime]]) -> None:
    """Register the keys of readings: of each its type, the paths of its values and its time.

    Ingest calls it before it stores them. What this process has seen before costs no query. At
    most KEYS_PER_DEVICE are registered of a device, and none of one that is gone.
    """
    number, now = device.pk.int, monotonic()
    unseen = [
        shape
        for shape in shapes
        if shape[2] < _noted_since(hash((number, shape[0], shape[1])), now)
    ]
    if not unseen:
        return
    marks: dict[int, datetime] = {}
    since: dict[tuple[str, str], datetime] = {}
    for kind, paths, recorded_at in unseen:
        hour = recorded_at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        mark = hash((number, kind, paths))
        if hour < marks.get(mark, NEVER):
            marks[mark] = hour
            for path in filter(PATH.fullmatch, paths):
                since[kind, path] = min(hour, since.get((kind, path), hour))
    if _register(device, since):
        transaction.on_commit(partial(_remember, marks))


def is_registered(device: Device, kind: str, paths: tuple[str, ...], recorded_at: datetime) -> bool:
    """Whether this process has seen such a reading before, so that it need not be noted."""
    return recorded_at >= _noted_since(hash((device.pk.int, kind, paths)), monotonic())


def change(key: Key, **fields: Any) -> Key:
    """Store a label, a unit or decimals of a key; what is empty is told by the name again.

    Raises ValidationError, Key.DoesNotExist if its device is gone in the meantime.
    """
    for field, value in fields.items():
        setattr(key, field, value)
    key.clean_fields(exclude={field.name for field in Key._meta.fields} - set(fields))
    if fields and not Key.objects.filter(pk=key.pk).update(**fields):
        raise Key.DoesNotExist
    return key


def list_for_device(device: Device) -> list[Key]:
    """All keys of a device, in order."""
    return sorted(
        Key.objects.filter(device=device),
        key=lambda key: (key.telemetry_type, *natural_sort_key(key.key)),
    )


def natural_sort_key(path: str) -> list[str]:
    """Sorts paths in the order people count in: `fan_10` after `fan_9`."""
    return [part.zfill(20) if part.isdecimal() else part for part in DIGITS.split(path)]


def get(device: Device, name: str) -> Key:
    """The key of a device with this name, `environment.temperature`. Raises DoesNotExist."""
    kind, _, path = name.partition(".")
    return Key.objects.get(device=device, telemetry_type=kind, key=path)


def display_formats_for(devices: Iterable[Device]) -> dict[UUID, DisplayFormats]:
    """How the values of each device are shown."""
    found = {device.pk: DisplayFormats() for device in devices}
    chosen = Key.objects.filter(
        ~Q(label="") | ~Q(unit="") | Q(decimals__isnull=False), device__in=found
    )
    for key in chosen:
        found[key.device_id][key.telemetry_type, key.key] = display_format(key)
    return found


def display_format(key: Key) -> DisplayFormat:
    """How the values of a key are shown."""
    label, unit, decimals = guess_format(key.key)
    if key.unit not in ("", unit):
        # The decimals go with the unit that the name tells.
        unit, decimals = "" if key.unit == NO_UNIT else key.unit, None
    return DisplayFormat(
        key.label or label, unit, decimals if key.decimals is None else key.decimals
    )


def guess_format(path: str) -> DisplayFormat:
    """How the values under a path are shown where nobody chose anything."""
    return DisplayFormat(path, *units.guess_unit(path))


def _register(device: Device, since: dict[tuple[str, str], datetime]) -> bool:
    """Whether the device is there; then the keys are too, as far as there is room for them."""
    arguments = {
        "device": device.pk,
        "types": [kind for kind, _ in since],
        "paths": [path for _, path in since],
        "since": list(since.values()),
        "most": settings.KEYS_PER_DEVICE,
    }
    with transaction.atomic(), connection.cursor() as cursor:
        # Two registrations at once are counted one after the other.
        cursor.execute("SELECT FROM devices WHERE id = %s FOR NO KEY UPDATE", [device.pk])
        if cursor.rowcount:
            cursor.execute(REGISTER, arguments)
            return True
        return False


def _noted_since(mark: int, now: float) -> datetime:
    since, forgotten_at = _known_shapes.get(mark) or (NEVER, now)
    return since if now < forgotten_at else NEVER


def _remember(marks: dict[int, datetime]) -> None:
    now = monotonic()
    for mark, hour in marks.items():
        lasting = CACHE_SECONDS * random.uniform(0.5, 1)  # noqa: S311 - no secret
        _known_shapes.set(mark, (hour, now + lasting))
