"""Retention rules, and the watermarks that record how far they have been applied.

apply.py deletes the expired rows. All cutoffs are midnights in UTC.
"""

from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import NamedTuple, Self
from uuid import UUID

from django.db import connection, transaction
from django.db.models import QuerySet

from common.timestamps import MIN_TIMESTAMP
from devices.models import Device, DeviceQuerySet
from telemetry.models import Horizon, RetentionRule

RULE_CACHE_SECONDS = 60
"""How long a process uses the rules that it has read."""
ADVISORY_LOCK = 0x7E1E_0003
"""Rollups are built under a shared lock; watermarks are moved under an exclusive lock."""


class Cutoffs(NamedTuple):
    """Readings, hours and days before these instants are not kept. None means kept forever."""

    raw: datetime | None = None
    hour: datetime | None = None
    day: datetime | None = None

    @classmethod
    def from_rule(cls, rule: RetentionRule | None, now: datetime) -> Self:
        """Return the cutoffs of a rule.

        Everything is kept forever without a rule, and with an age that no reading can reach.
        """
        if rule is None:
            return cls()
        today = _midnight(now)
        oldest = (today - MIN_TIMESTAMP).days
        return cls(
            *(
                today - timedelta(days=age) if age is not None and age < oldest else None
                for age in (rule.raw_days, rule.hour_days, rule.day_days)
            )
        )

    def capped_at(self, time: datetime) -> Self:
        """Return the same cutoffs, but none later than the midnight before an instant."""
        midnight = _midnight(time)
        return type(self)(*(cutoff and min(cutoff, midnight) for cutoff in self))


class RuleSet:
    """A set of rules; it finds the rule that applies to a device."""

    def __init__(self, rules: Iterable[RetentionRule]) -> None:
        self._by_device: dict[UUID, RetentionRule] = {}
        self._by_type: dict[str, RetentionRule] = {}
        for rule in rules:
            if rule.device_id:
                self._by_device[rule.device_id] = rule
            else:
                self._by_type[rule.device_type] = rule

    @classmethod
    def read(cls) -> Self:
        """Read all rules from the database."""
        return cls(RetentionRule.objects.select_related("device").order_by("pk"))

    def __iter__(self) -> Iterator[RetentionRule]:
        return iter((*self._by_type.values(), *self._by_device.values()))

    def cutoffs(self, device_id: UUID | None, device_type: str, now: datetime) -> Cutoffs:
        """Return all cutoffs of the most specific rule that applies to a device."""
        own = self._by_device.get(device_id) if device_id else None
        return Cutoffs.from_rule(
            own or self._by_type.get(device_type) or self._by_type.get(""), now
        )

    def devices_for(self, rule: RetentionRule) -> DeviceQuerySet:
        """Return the active devices that a rule applies to."""
        active = Device.objects.filter(deleted_at=None)
        if rule.device_id:
            return active.filter(pk=rule.device_id)
        others = active.exclude(pk__in=self._by_device)
        if rule.device_type:
            return others.filter(device_type=rule.device_type)
        return others.exclude(device_type__in=self._by_type)

    def global_cutoff(self, now: datetime) -> datetime | None:
        """Return the instant before which no active device keeps readings, or None."""
        active = Device.objects.filter(deleted_at=None)
        with_own_rule = active.filter(pk__in=self._by_device).values_list("pk", "device_type")
        # One look-up per type is enough. There may be a hundred thousand devices.
        types = active.exclude(pk__in=self._by_device).values_list("device_type").distinct()
        cases = [*with_own_rule, *((None, name) for (name,) in types)]
        return earliest_cutoff(self.cutoffs(device_id, name, now).raw for device_id, name in cases)


def earliest_cutoff(cutoffs: Iterable[datetime | None]) -> datetime | None:
    """Return the earliest cutoff; None if one of them is None, or if there are none."""
    values = list(cutoffs)
    return min((value for value in values if value), default=None) if all(values) else None


class _RuleCache:
    """The rules that this process uses, and when they expire on the monotonic clock."""

    rules = RuleSet([])
    expires_at = 0.0


def cache_rules(rules: RuleSet) -> None:
    """Cache these rules for RULE_CACHE_SECONDS."""
    _RuleCache.rules, _RuleCache.expires_at = rules, monotonic() + RULE_CACHE_SECONDS


def cutoffs(device: Device, now: datetime) -> Cutoffs:
    """Return the cutoffs of a device by the cached rules."""
    if monotonic() >= _RuleCache.expires_at:
        cache_rules(RuleSet.read())
    return _RuleCache.rules.cutoffs(device.pk, device.device_type, now)


def earliest_allowed(device: Device, now: datetime) -> datetime:
    """Return the earliest time of a reading that the device may store."""
    return cutoffs(device, now).raw or MIN_TIMESTAMP


def get_watermark(device: Device) -> Cutoffs:
    """Return the instants before which rows of the device are deleted, as recorded."""
    return _read_watermarks(Horizon.objects.filter(pk=device.pk)).get(device.pk, Cutoffs())


def get_watermarks(devices: Collection[UUID]) -> dict[UUID, Cutoffs]:
    """Return the watermarks of these devices. A device without deleted rows has none.

    No rollup can be built from the time before a watermark. Inside a transaction the watermarks
    cannot move until it ends.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", [ADVISORY_LOCK])
    return _read_watermarks(Horizon.objects.filter(pk__in=devices))


def advance_watermarks(due: dict[UUID, Cutoffs]) -> None:
    """Record these cutoffs as watermarks, before the rows are deleted. Never move one back.

    Waits until no transaction uses the old watermarks.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', '60s', true)")
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [ADVISORY_LOCK])
        cursor.execute(
            """
            INSERT INTO telemetry_horizons AS known (device_id, raw, hour, day)
            SELECT due.* FROM unnest(%s::uuid[], %s::timestamptz[], %s::timestamptz[],
                                     %s::timestamptz[]) AS due (id, raw, hour, day)
            JOIN devices USING (id)
            ON CONFLICT (device_id) DO UPDATE SET
                raw = GREATEST(known.raw, excluded.raw),
                hour = GREATEST(known.hour, excluded.hour),
                day = GREATEST(known.day, excluded.day)
            """,
            [list(due), *([cutoffs[index] for cutoffs in due.values()] for index in range(3))],
        )


def _read_watermarks(rows: QuerySet[Horizon]) -> dict[UUID, Cutoffs]:
    return {
        device: Cutoffs(*values) for device, *values in rows.values_list("pk", *Cutoffs._fields)
    }


def _midnight(time: datetime) -> datetime:
    return time.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
