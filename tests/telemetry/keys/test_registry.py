"""The keys of a device: how they are registered and how their values are displayed."""

import random
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from common.random_cache import RandomCache
from devices.models import Device
from telemetry.ingest import validation
from telemetry.keys import registry as keys
from telemetry.models import Key
from telemetry.queries import series
from tests.concurrency import run_concurrently
from tests.factories import NOW, DeviceFactory, register_key

HOUR = timedelta(hours=1)


def shape(payload, recorded_at=NOW, kind="environment"):
    return kind, tuple(path for path, _ in validation.iter_values(payload)), recorded_at


def registered(device):
    found = Key.objects.filter(device=device)
    return {(key.telemetry_type, key.key): key.since for key in found}


def expected(shapes):
    """Return by brute force every chartable path with the hour of its oldest reading."""
    oldest: dict[tuple[str, str], datetime] = {}
    for kind, paths, recorded_at in shapes:
        for path in paths:
            if series.KEY.fullmatch(f"{kind}.{path}"):
                known = oldest.setdefault((kind, path), recorded_at)
                oldest[kind, path] = min(known, recorded_at)
    return {
        key: time.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        for key, time in oldest.items()
    }


names = st.sampled_from(["a", "b", "gps", "lat", "gps.lat", "no good", "größe", "x" * 65, ""])
leaves = st.sampled_from([1, 2.5, True, "text", None, [], {}])
payloads = st.dictionaries(
    names,
    st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
        max_leaves=6,
    ),
    min_size=1,
    max_size=4,
)
shapes = st.builds(
    shape,
    payloads,
    st.integers(-200, 200).map(lambda minutes: NOW + timedelta(minutes=minutes)),
    st.sampled_from(["environment", "power"]),
)


class TestRegistry(TestCase):
    @given(st.lists(st.lists(shapes, max_size=6), max_size=5))
    def test_every_chartable_path_is_registered_with_the_hour_of_its_oldest_reading(self, batches):
        device = DeviceFactory.create()
        for batch in batches:
            with self.captureOnCommitCallbacks(execute=True):
                keys.register_keys(device, batch)
        assert registered(device) == expected(one for batch in batches for one in batch)


@pytest.mark.django_db(transaction=True)
def test_concurrent_registration_in_any_order_stores_the_same_keys():
    device = DeviceFactory.create()
    chance = random.Random(3)
    known = [
        shape(
            {chance.choice("abcdefgh"): 1, chance.choice("abcdefgh"): {"x": 1}},
            NOW + timedelta(minutes=chance.randint(-300, 300)),
            chance.choice(["environment", "power"]),
        )
        for _ in range(120)
    ]

    def send(order):
        return lambda: [
            keys.register_keys(device, order[n : n + 5]) for n in range(0, len(order), 5)
        ]

    outcomes = run_concurrently(*[send(chance.sample(known, len(known))) for _ in range(5)])
    assert not [one for one in outcomes if isinstance(one, Exception)]
    assert registered(device) == expected(known)


@pytest.mark.django_db(transaction=True)
def test_concurrent_registration_does_not_exceed_the_limit(settings):
    settings.KEYS_PER_DEVICE = 10
    device = DeviceFactory.create()

    def send(name):
        return lambda: keys.register_keys(device, [shape({f"{name}{n}": n for n in range(7)})])

    assert run_concurrently(*[send(name) for name in "abcd"]) == [None] * 4
    assert len(registered(device)) == 10


def test_registered_keys_take_no_query(
    device, django_assert_num_queries, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        keys.register_keys(device, [shape({"a": 1, "b": {"c": 2}}), shape({"d": 1})])
    with django_assert_num_queries(0):
        keys.register_keys(
            device, [shape({"d": "text"}), shape({"a": None, "b": {"c": 3}}, NOW + HOUR)]
        )
        keys.register_keys(device, [])


def test_the_same_key_of_another_device_is_registered(device, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        keys.register_keys(device, [shape({"a": 1})])
    other = DeviceFactory.create()
    keys.register_keys(other, [shape({"a": 1})])
    assert registered(other) == registered(device)


def test_a_key_is_registered_again_after_a_rollback(device, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        with suppress(ZeroDivisionError), transaction.atomic():
            keys.register_keys(device, [shape({"a": 1})])
            raise ZeroDivisionError
    assert registered(device) == {}
    keys.register_keys(device, [shape({"a": 1})])
    assert len(registered(device)) == 1


def test_keys_of_a_deleted_device_are_registered_only_after_it_exists_again(
    device, django_capture_on_commit_callbacks
):
    gone = Device.objects.get()
    Device.objects.all().delete()
    with django_capture_on_commit_callbacks(execute=True):
        keys.register_keys(gone, [shape({"a": 1})])
    assert not Key.objects.exists()
    gone.save(force_insert=True)
    keys.register_keys(gone, [shape({"a": 1})])
    assert len(registered(gone)) == 1


def test_a_deleted_key_is_registered_again_within_the_hour(
    device, monkeypatch, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        keys.register_keys(device, [shape({"a": 1})])
    Key.objects.all().delete()
    later = keys.monotonic() + keys.CACHE_SECONDS
    monkeypatch.setattr(keys, "monotonic", lambda: later)
    keys.register_keys(device, [shape({"a": 1})])
    assert len(registered(device)) == 1


def test_the_size_of_the_cache_is_limited(device, monkeypatch, django_capture_on_commit_callbacks):
    monkeypatch.setattr(keys, "_known_shapes", RandomCache(10))
    with django_capture_on_commit_callbacks(execute=True):
        for number in range(25):
            keys.register_keys(device, [shape({f"k{number}": 1})])
    assert len(keys._known_shapes) <= 10
    assert len(registered(device)) == 25


def test_over_the_limit_no_key_is_registered_but_known_keys_are_updated(device, settings):
    settings.KEYS_PER_DEVICE = 3
    keys.register_keys(device, [shape({"a": 1, "b": 1})])
    keys.register_keys(device, [shape({f"n{number}": 1 for number in range(9)})])
    assert len(registered(device)) == 3
    keys.register_keys(device, [shape({"a": 1, "z": 1}, NOW - 5 * HOUR)])
    assert len(registered(device)) == 3
    assert registered(device)["environment", "a"] == NOW - 5 * HOUR


@given(st.text(alphabet="aZ9_.-/ é\n", max_size=70))
def test_a_path_can_be_registered_if_it_can_be_charted(path):
    assert bool(keys.PATH.fullmatch(path)) == bool(series.KEY.fullmatch(f"environment.{path}"))


def key_of(device: Device, name: str = "environment.temperature") -> Key:
    return keys.get(device, register_key(device, name))


@pytest.mark.parametrize(
    ("name", "chosen", "expected"),
    [
        ("environment.gps.lat", {}, ("gps.lat", "°", 5)),
        ("environment.anything", {}, ("anything", "", None)),
        ("environment.temperature", {"label": "Room"}, ("Room", "°C", 1)),
        ("environment.temperature", {"unit": "°C"}, ("temperature", "°C", 1)),
        # The decimals of a percentage are not used for a voltage.
        ("environment.battery", {"unit": "V"}, ("battery", "V", None)),
        ("environment.battery", {"unit": "1"}, ("battery", "", None)),
        ("environment.battery", {"unit": "V", "decimals": 2}, ("battery", "V", 2)),
        ("environment.temperature", {"decimals": 0}, ("temperature", "°C", 0)),
    ],
)
def test_chosen_values_override_the_defaults_of_the_name(
    device: Device, name: str, chosen: dict[str, Any], expected: tuple[str, str, int | None]
) -> None:
    key = keys.update_key(key_of(device, name), **chosen)
    assert keys.display_format(key) == expected
    kind, path = name.split(".", 1)
    assert keys.display_formats_for([device])[device.pk][kind, path] == expected


def test_display_formats_of_many_devices_take_one_query(
    device: Device, django_assert_num_queries: Any
) -> None:
    other = DeviceFactory.create()
    keys.update_key(key_of(device), unit="K")
    keys.update_key(key_of(other), unit="°F")
    with django_assert_num_queries(1):
        found = keys.display_formats_for([device, other])
    assert found[device.pk]["environment", "temperature"].unit == "K"
    assert found[other.pk]["environment", "temperature"].unit == "°F"
    assert found[other.pk]["environment", "humidity"].unit == "%"


@pytest.mark.parametrize("value", [True, None, "21.5", [], {}])
def test_a_value_that_is_not_a_number_has_no_unit(value: object) -> None:
    assert keys.DisplayFormat("a", "°C", 1).for_value(value) == ("a", "", None)


def test_changing_a_deleted_key_fails(device: Device) -> None:
    key = key_of(device)
    Key.objects.all().delete()
    with pytest.raises(Key.DoesNotExist):
        keys.update_key(key, unit="K")


@pytest.mark.parametrize(
    "fields", [{"decimals": 11}, {"decimals": -1}, {"unit": "x" * 17}, {"label": "x" * 65}]
)
def test_an_invalid_display_format_is_rejected(device: Device, fields: dict[str, Any]) -> None:
    key = key_of(device)
    with pytest.raises(ValidationError) as raised:
        keys.update_key(key, **fields)
    assert set(raised.value.message_dict) == set(fields)
    assert not Key.objects.filter(**fields).exists()


def test_decimals_out_of_range_violate_a_constraint(device: Device) -> None:
    key_of(device)
    with pytest.raises(IntegrityError), transaction.atomic():
        Key.objects.update(decimals=11)


def test_keys_cached_at_the_same_time_expire_at_different_times(
    device, monkeypatch, django_capture_on_commit_callbacks
):
    shapes = [shape({f"k{number}": 1}) for number in range(200)]
    with django_capture_on_commit_callbacks(execute=True):
        keys.register_keys(device, shapes)

    def known_after(share):
        later = keys.monotonic() + share * keys.CACHE_SECONDS
        with monkeypatch.context() as patched:
            patched.setattr(keys, "monotonic", lambda: later)
            return sum(keys.is_registered(device, *one) for one in shapes)

    assert known_after(0.4) == 200
    assert 20 < known_after(0.75) < 180
    assert known_after(1) == 0
