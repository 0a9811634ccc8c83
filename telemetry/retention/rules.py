"""How long readings and rollups are kept: the rules, and how far they have been applied.

What is over its age goes in expiry.py. All cut-offs are midnights in UTC.
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
"""Seconds that a process goes by the rules it has read, before it reads them again."""
LOCK = 0x7E1E_0003
"""The advisory lock that rollups are made under, shared, and horizons are moved under, alone."""


class Cutoffs(NamedTuple):
    """Before which instants readings, hours and days are not kept; None is for ever."""

    raw: datetime | None = None
    hour: datetime | None = None
    day: datetime | None = None

    @classmethod
    def of(cls, rule: RetentionRule | None, now: datetime) -> Self:
        """Those of a rule; without one all is for ever, as of an age that no reading can reach."""
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

    def no_later_than(self, time: datetime) -> Self:
        """The same, held back to the midnight before an instant."""
        midnight = _midnight(time)
        return type(self)(*(cutoff and min(cutoff, midnight) for cutoff in self))


class RuleSet:
    """Some rules, and which of them holds for whom."""

    def __init__(self, rules: Iterable[RetentionRule]) -> None:
        self._of_device: dict[UUID, RetentionRule] = {}
        self._of_type: dict[str, RetentionRule] = {}
        for rule in rules:
            if rule.device_id:
                self._of_device[rule.device_id] = rule
            else:
                self._of_type[rule.device_type] = rule

    @classmethod
    def read(cls) -> Self:
        """All that there are."""
        return cls(RetentionRule.objects.select_related("device").order_by("pk"))

    def __iter__(self) -> Iterator[RetentionRule]:
        return iter((*self._of_type.values(), *self._of_device.values()))

    def cutoffs(self, device_id: UUID | None, device_type: str, now: datetime) -> Cutoffs:
        """What the most particular rule that fits a device says, whole."""
        own = self._of_device.get(device_id) if device_id else None
        return Cutoffs.of(own or self._of_type.get(device_type) or self._of_type.get(""), now)

    def devices_of(self, rule: RetentionRule) -> DeviceQuerySet:
        """The living devices that a rule holds for."""
        living = Device.objects.filter(deleted_at=None)
        if rule.device_id:
            return living.filter(pk=rule.device_id)
        others = living.exclude(pk__in=self._of_device)
        if rule.device_type:
            return others.filter(device_type=rule.device_type)
        return others.exclude(device_type__in=self._of_type)

    def nothing_kept_before(self, now: datetime) -> datetime | None:
        """The instant before which no living device keeps readings; None if there is none."""
        living = Device.objects.filter(deleted_at=None)
        own = living.filter(pk__in=self._of_device).values_list("pk", "device_type")
        # One stands for all of its type: there may be a hundred thousand devices.
        types = living.exclude(pk__in=self._of_device).values_list("device_type").distinct()
        some = [*own, *((None, name) for (name,) in types)]
        return earliest_cutoff(self.cutoffs(device_id, name, now).raw for device_id, name in some)


def earliest_cutoff(cutoffs: Iterable[datetime | None]) -> datetime | None:
    """Before which instant nothing is kept; None if something is kept for ever, or by nobody."""
    found = list(cutoffs)
    return min((one for one in found if one), default=None) if all(found) else None


class _RuleCache:
    """The rules that this process goes by, and until when on the monotonic clock."""

    rules = RuleSet([])
    until = 0.0


def cache_rules(rules: RuleSet) -> None:
    """Hold these rules for a while."""
    _RuleCache.rules, _RuleCache.until = rules, monotonic() + RULE_CACHE_SECONDS


def cutoffs(device: Device, now: datetime) -> Cutoffs:
    """What is to be kept of a device, by rules that were read at most RULES_HELD ago."""
    if monotonic() >= _RuleCache.until:
        cache_rules(RuleSet.read())
    return _RuleCache.rules.cutoffs(device.pk, device.device_type, now)


def earliest_allowed(device: Device, now: datetime) -> datetime:
    """The first instant that a reading of the device may be of to be stored."""
    return cutoffs(device, now).raw or MIN_TIMESTAMP


def get_watermark(device: Device) -> Cutoffs:
    """Before which instants nothing of the device is left, whatever the rules say by now."""
    return _read_watermarks(Horizon.objects.filter(pk=device.pk)).get(device.pk, Cutoffs())


def get_watermarks(devices: Collection[UUID]) -> dict[UUID, Cutoffs]:
    """The same of those of some devices that have lost anything: no rollup can be made anew from
    before.

    Within a transaction they stay where they are until it ends.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", [LOCK])
    return _read_watermarks(Horizon.objects.filter(pk__in=devices))


def advance_watermarks(due: dict[UUID, Cutoffs]) -> None:
    """Say that what lies before these cut-offs is gone, before it goes. Never moves one back.

    Waits until nobody goes by where they were.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', '60s', true)")
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
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
            [list(due), *([one[kind] for one in due.values()] for kind in range(3))],
        )


def _read_watermarks(rows: QuerySet[Horizon]) -> dict[UUID, Cutoffs]:
    return {device: Cutoffs(*gone) for device, *gone in rows.values_list("pk", *Cutoffs._fields)}


def _midnight(time: datetime) -> datetime:
    return time.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
