"""API list of devices: pages and filters."""

from datetime import UTC, datetime

import pytest

from devices.models import METADATA_KEYS_LIMIT, Device, DeviceQuerySet
from tests.factories import NOW, DeviceFactory
from tests.problems import error_pointers

DEVICES = "/api/v1/devices"


def names(response):
    assert response.status_code == 200, response.content
    return [device["name"] for device in response.json()["results"]]


class TestListing:
    def test_the_list_has_the_users_active_devices_with_the_newest_first(
        self, owner, stranger, owner_api
    ):
        for name in ("first", "second", "third"):
            DeviceFactory.create(user=owner, name=name)
        DeviceFactory.create(user=owner, name="gone", deleted_at=NOW)
        DeviceFactory.create(user=stranger, name="hers")
        response = owner_api.get(DEVICES)
        assert names(response) == ["third", "second", "first"]
        assert response.json()["next"] is None

    @pytest.mark.parametrize("limit", [1, 2, 3, 7, 8, 1000])
    @pytest.mark.parametrize("distinct_times", [1, 3, 7])
    def test_pages_have_no_gaps_and_no_duplicates(self, owner, owner_api, limit, distinct_times):
        for number in range(7):
            device = DeviceFactory.create(user=owner, name=str(number))
            # Several may well be made in the same microsecond.
            Device.objects.filter(pk=device.pk).update(
                created_at=NOW.replace(second=number % distinct_times)
            )
        found, query = [], {"limit": limit}
        while True:
            page = owner_api.get(DEVICES, query).json()
            assert len(page["results"]) <= limit
            found += page["results"]
            assert len(found) <= 7
            if page["next"] is None:
                break
            query["cursor"] = page["next"]
        assert len(found) == 7
        assert {device["name"] for device in found} == set("0123456")
        times = [device["created_at"] for device in found]
        assert times == sorted(times, reverse=True)

    @pytest.mark.parametrize(
        "limit",
        [
            "0",
            "-1",
            "1001",
            "x",
            "",
            "1.5",
            " 1",
            "\u0661",
            "9" * 400,
            "000000001999",
            "0" * 5000,
            "000000001" + "0" * 5000,
        ],
    )
    def test_an_invalid_limit_is_422(self, owner_api, limit):
        assert error_pointers(owner_api.get(DEVICES, {"limit": limit})) == ["/limit"]

    @pytest.mark.parametrize(
        "cursor",
        ["x", "\0", "!!!!", "cD1nYXJiYWdl", "cD0A", "bz14", "cD0lMDA=", "\u00e9", "A" * 400],
    )
    def test_an_invalid_cursor_is_422(self, device, owner_api, cursor):
        assert error_pointers(owner_api.get(DEVICES, {"cursor": cursor}))

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ({"device_type": "esp32"}, ["pump", "lamp"]),
            ({"device_type": "ESP32"}, []),
            ({"search": "AM"}, ["lamp"]),
            ({"search": "p"}, ["pump", "lamp"]),
            ({"search": "%"}, []),
            ({"search": "_amp"}, []),
            ({"search": "'; --"}, []),
            ({"status": "online"}, ["pump"]),
            ({"status": "offline"}, ["lamp", "door"]),
            ({"metadata.room": "north"}, ["lamp", "door"]),
            ({"metadata.room": "North"}, []),
            ({"metadata.floor": "2"}, ["door"]),
            ({"metadata.a.b": "dotted"}, ["door"]),
            ({"metadata.7": "seven"}, ["door"]),
            ({"metadata.99999999999999": "many"}, ["door"]),
            ({"metadata.room": "north", "device_type": "esp32"}, ["lamp"]),
            ({"metadata.none": ""}, []),
            ({"metadata.room": "north", "metadata.floor": "1"}, ["lamp"]),
            ({f"metadata.{n}": "x" for n in range(METADATA_KEYS_LIMIT)}, []),
        ],
    )
    def test_the_list_is_filtered(self, owner, owner_api, query, found):
        for name, fields in {
            "door": {
                "metadata": {
                    "room": "north",
                    "floor": 2,
                    "a.b": "dotted",
                    "7": "seven",
                    "99999999999999": "many",
                }
            },
            "lamp": {"device_type": "esp32", "metadata": {"room": "north", "floor": "1"}},
            "pump": {
                "device_type": "esp32",
                "metadata": {"room": "south"},
                "last_seen_at": datetime.now(UTC),
            },
        }.items():
            DeviceFactory.create(user=owner, name=name, **fields)
        assert names(owner_api.get(DEVICES, query)) == found

    @pytest.mark.parametrize(
        "query",
        [
            {"user__username__startswith": "o"},
            {"metadata__a__regex": "("},
            {"payload__a__regex": "("},
            {"ordering": "user__password"},
            {"metadata.": "x"},
            {"metadata." + "k" * 65: "x"},
            {"metadata." + "__".join(["k"] * 300): "x"},
            {"metadata.a'b": "x"},
            {"metadata.\0": "x"},
            {"metadata.a\n": "x"},
            {"search": "\0"},
            {"device_type": "\0"},
            {"metadata.a": "\0"},
            {"status": "asleep"},
            {"status": ""},
            {"": ""},
            {"page": "2"},
            {f"metadata.{n}": "x" for n in range(METADATA_KEYS_LIMIT + 1)},
        ],
    )
    def test_an_invalid_query_parameter_is_422(self, device, owner_api, query):
        assert error_pointers(owner_api.get(DEVICES, query))

    def test_all_metadata_keys_are_compared_by_one_filter(self, owner_api, monkeypatch):
        clones = []
        clone = DeviceQuerySet._clone
        monkeypatch.setattr(DeviceQuerySet, "_clone", lambda self: clones.append(1) or clone(self))
        counts = []
        for keys in (1, METADATA_KEYS_LIMIT):
            clones.clear()
            owner_api.get(DEVICES, {f"metadata.{n}": "x" for n in range(keys)})
            counts.append(len(clones))
        assert counts[0] == counts[1]

    def test_the_number_of_queries_does_not_grow_with_the_list(
        self, owner, owner_api, django_assert_num_queries
    ):
        DeviceFactory.create_batch(20, user=owner)
        owner_api.get(DEVICES)
        # The token, the page.
        with django_assert_num_queries(2):
            assert len(owner_api.get(DEVICES).json()["results"]) == 20
