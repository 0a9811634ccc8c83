"""The keys of a device: the paths of its values, and their display formats.

Ingest registers the keys of readings before it stores them, so that all keys of stored readings are
known. Units and decimals that the user has not set are guessed from the name each time.
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
"""The path of a value that can be charted; a key is a telemetry type, a dot and such a path."""
DIGITS = re.compile(r"(\d+)", re.ASCII)
NO_UNIT = "1"
"""The unit of a number without a unit (UCUM); it overrides the guessed unit."""

REGISTER_KEYS_SQL = """
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
"""Maximum age of a cache entry. The cache may be wrong for this time, for example after a backup is
restored. Each entry expires at a random time after half of it: if all entries expired together, all
devices would leave the fast path at once."""
NEVER = datetime.max.replace(tzinfo=UTC)
_known_shapes: RandomCache[int, tuple[datetime, float]] = RandomCache(settings.KEY_CACHE_SIZE)
"""Maps the hash of a device, a type and its paths to the hour since which they are registered, and
to the expiry time. Only the hash is stored, because the paths can be as large as a payload."""


class DisplayFormat(NamedTuple):
    """How a value is displayed. `decimals` is None if the number of decimals is unknown."""

    label: str
    unit: str
    decimals: int | None

    def for_value(self, value: object) -> "DisplayFormat":
        """Return the format for a value; only numbers have a unit and decimals."""
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return self if is_number else DisplayFormat(self.label, "", None)


class DisplayFormats(dict[tuple[str, str], DisplayFormat]):
    """Display formats of a device by type and path: set by the user, or guessed from the name."""

    def __missing__(self, key: tuple[str, str]) -> DisplayFormat:
        return guess_format(key[1])


def register_keys(device: Device, shapes: Iterable[tuple[str, tuple[str, ...], datetime]]) -> None:
    """Register the keys of readings; a shape is a type, the paths of the values and the time.

    Ingest calls this before it stores the readings. Shapes in the cache of this process need no
    query. At most KEYS_PER_DEVICE keys are registered per device, and none for a deleted device.
    """
    number, now = device.pk.int, monotonic()
    unknown = [
        shape
        for shape in shapes
        if shape[2] < _registered_since(hash((number, shape[0], shape[1])), now)
    ]
    if not unknown:
        return
    registered: dict[int, datetime] = {}
    since: dict[tuple[str, str], datetime] = {}
    for telemetry_type, paths, recorded_at in unknown:
        hour = recorded_at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        shape_hash = hash((number, telemetry_type, paths))
        if hour < registered.get(shape_hash, NEVER):
            registered[shape_hash] = hour
            for path in filter(PATH.fullmatch, paths):
                key = telemetry_type, path
                since[key] = min(hour, since.get(key, hour))
    if _register(device, since):
        transaction.on_commit(partial(_cache_shapes, registered))


def is_registered(
    device: Device, telemetry_type: str, paths: tuple[str, ...], recorded_at: datetime
) -> bool:
    """Return whether the cache proves that the keys of such a reading are registered."""
    return recorded_at >= _registered_since(
        hash((device.pk.int, telemetry_type, paths)), monotonic()
    )


def update_key(key: Key, **fields: Any) -> Key:
    """Set the label, unit or decimals of a key; an empty value restores the default.

    Raises ValidationError, and Key.DoesNotExist if the device was deleted in the meantime.
    """
    for field, value in fields.items():
        setattr(key, field, value)
    key.clean_fields(exclude={field.name for field in Key._meta.fields} - set(fields))
    if fields and not Key.objects.filter(pk=key.pk).update(**fields):
        raise Key.DoesNotExist
    return key


def list_for_device(device: Device) -> list[Key]:
    """Return all keys of a device in order."""
    return sorted(
        Key.objects.filter(device=device),
        key=lambda key: (key.telemetry_type, *natural_sort_key(key.key)),
    )


def natural_sort_key(path: str) -> list[str]:
    """Return a sort key for natural order: `fan_10` comes after `fan_9`."""
    return [part.zfill(20) if part.isdecimal() else part for part in DIGITS.split(path)]


def get(device: Device, name: str) -> Key:
    """Return the key with a name like `environment.temperature`. Raises Key.DoesNotExist."""
    telemetry_type, _, path = name.partition(".")
    return Key.objects.get(device=device, telemetry_type=telemetry_type, key=path)


def display_formats_for(devices: Iterable[Device]) -> dict[UUID, DisplayFormats]:
    """Return the display formats of each device."""
    formats = {device.pk: DisplayFormats() for device in devices}
    customized = Key.objects.filter(
        ~Q(label="") | ~Q(unit="") | Q(decimals__isnull=False), device__in=formats
    )
    for key in customized:
        formats[key.device_id][key.telemetry_type, key.key] = display_format(key)
    return formats


def display_format(key: Key) -> DisplayFormat:
    """Return the display format of a key."""
    label, unit, decimals = guess_format(key.key)
    if key.unit not in ("", unit):
        # The guessed decimals fit only the guessed unit.
        unit, decimals = "" if key.unit == NO_UNIT else key.unit, None
    return DisplayFormat(
        key.label or label, unit, decimals if key.decimals is None else key.decimals
    )


def guess_format(path: str) -> DisplayFormat:
    """Return the default display format of a path."""
    return DisplayFormat(path, *units.guess_unit(path))


def _register(device: Device, since: dict[tuple[str, str], datetime]) -> bool:
    """Register keys up to KEYS_PER_DEVICE; return False if the device does not exist."""
    params = {
        "device": device.pk,
        "types": [telemetry_type for telemetry_type, _ in since],
        "paths": [path for _, path in since],
        "since": list(since.values()),
        "most": settings.KEYS_PER_DEVICE,
    }
    with transaction.atomic(), connection.cursor() as cursor:
        # The lock makes concurrent registrations count the keys one after the other.
        cursor.execute("SELECT FROM devices WHERE id = %s FOR NO KEY UPDATE", [device.pk])
        if cursor.rowcount:
            cursor.execute(REGISTER_KEYS_SQL, params)
            return True
        return False


def _registered_since(shape_hash: int, now: float) -> datetime:
    since, expires_at = _known_shapes.get(shape_hash) or (NEVER, now)
    return since if now < expires_at else NEVER


def _cache_shapes(shapes: dict[int, datetime]) -> None:
    now = monotonic()
    for shape_hash, hour in shapes.items():
        ttl = CACHE_SECONDS * random.uniform(0.5, 1)  # noqa: S311 - no secret
        _known_shapes.set(shape_hash, (hour, now + ttl))
