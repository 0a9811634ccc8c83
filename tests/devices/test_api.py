from datetime import UTC, datetime
from uuid import uuid4

import pytest
from django.conf import settings

from devices.models import METADATA_KEYS_LIMIT, Device, DeviceQuerySet, DeviceToken
from tests.conftest import Api
from tests.factories import NOW, DeviceFactory, device_token, device_token_and_row

DEVICES = "/api/v1/devices"


def one(device):
    return f"/api/v1/devices/{device.pk}"


def names(answer):
    assert answer.status_code == 200, answer.content
    return [device["name"] for device in answer.json()["results"]]


def pointers(answer):
    assert answer.status_code == 422, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    return [fault["pointer"] for fault in answer.json()["errors"]]


class TestCreating:
    def test_a_new_device_is_shown_with_its_token_once(self, owner, owner_api):
        answer = owner_api.post(
            DEVICES, {"name": "greenhouse", "device_type": "esp32", "metadata": {"room": "north"}}
        )
        assert answer.status_code == 201
        made = answer.json()
        token = made.pop("token")
        assert made == owner_api.get(f"/api/v1/devices/{made['id']}").json()
        assert made["name"] == "greenhouse"
        assert made["device_type"] == "esp32"
        assert made["metadata"] == {"room": "north"}
        assert made["status"] == "offline"
        assert made["expected_interval"] == 60
        assert made["last_seen_at"] is None
        assert Api(token).get("/api/v1/device").json()["id"] == made["id"]
        assert owner.devices.get().pk.hex == made["id"].replace("-", "")

    @pytest.mark.parametrize(
        ("body", "pointer"),
        [
            ({}, "/name"),
            ({"name": ""}, "/name"),
            ({"name": "   "}, "/name"),
            ({"name": None}, "/name"),
            ({"name": "x" * 201}, "/name"),
            ({"name": ["x"]}, "/name"),
            ({"name": "a\0b"}, "/name"),
            ({"name": "\ud800"}, "/name"),
            ({"name": "x", "device_type": ""}, "/device_type"),
            ({"name": "x", "metadata": {"a": {"b": "\0"}}}, "/metadata/a/b"),
            ({"name": "x", "metadata": {"a\0": 1}}, "/metadata/a\\u0000"),
            ({"name": "x", "metadata": []}, "/metadata"),
            ({"name": "x", "metadata": None}, "/metadata"),
            ({"name": "x", "metadata": "{}"}, "/metadata"),
            ({"name": "x", "metadata": {"a": "x" * 17_000}}, "/metadata"),
            ({"name": "x", "expected_interval": 0}, "/expected_interval"),
            ({"name": "x", "expected_interval": 2**53}, "/expected_interval"),
            ({"name": "x", "expected_interval": "soon"}, "/expected_interval"),
            ({"name": "x", "expected_interval": 1.5}, "/expected_interval"),
            ({"name": "x", "user": str(uuid4())}, "/user"),
            ({"name": "x", "status": "online"}, "/status"),
            ({"name": "x", "id": str(uuid4())}, "/id"),
            ({"name": "x", "last_seen_at": None}, "/last_seen_at"),
            ({"name": "x", "a\0/b": 1}, "/a\\u0000~1b"),
            ([{"name": "x"}], ""),
            ("x", ""),
            (None, "/name"),
        ],
    )
    def test_a_bad_device_is_422_with_a_pointer_and_not_made(self, owner, owner_api, body, pointer):
        assert pointer in pointers(owner_api.post(DEVICES, body))
        assert not owner.devices.exists()

    def test_the_name_is_free(self, owner_api):
        name = "<script>alert(1)</script> \N{GRINNING FACE} '\"; DROP TABLE devices; --"
        assert owner_api.post(DEVICES, {"name": name}).json()["name"] == name

    def test_a_device_cannot_make_devices(self, device_api):
        assert device_api.post(DEVICES, {"name": "x"}).status_code == 403


class TestListing:
    def test_the_list_has_the_users_own_living_devices_newest_first(
        self, owner, stranger, owner_api
    ):
        for name in ("first", "second", "third"):
            DeviceFactory.create(user=owner, name=name)
        DeviceFactory.create(user=owner, name="gone", deleted_at=NOW)
        DeviceFactory.create(user=stranger, name="hers")
        answer = owner_api.get(DEVICES)
        assert names(answer) == ["third", "second", "first"]
        assert answer.json()["next"] is None

    @pytest.mark.parametrize("limit", [1, 2, 3, 7, 8, 1000])
    @pytest.mark.parametrize("moments", [1, 3, 7])
    def test_pages_lose_nothing_and_repeat_nothing(self, owner, owner_api, limit, moments):
        for number in range(7):
            device = DeviceFactory.create(user=owner, name=str(number))
            # Several may well be made in the same microsecond.
            Device.objects.filter(pk=device.pk).update(
                created_at=NOW.replace(second=number % moments)
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
        moments_found = [device["created_at"] for device in found]
        assert moments_found == sorted(moments_found, reverse=True)

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
    def test_a_limit_is_from_one_to_a_thousand(self, owner_api, limit):
        assert pointers(owner_api.get(DEVICES, {"limit": limit})) == ["/limit"]

    @pytest.mark.parametrize(
        "cursor",
        ["x", "\0", "!!!!", "cD1nYXJiYWdl", "cD0A", "bz14", "cD0lMDA=", "\u00e9", "A" * 400],
    )
    def test_a_cursor_of_ones_own_making_is_422(self, device, owner_api, cursor):
        assert pointers(owner_api.get(DEVICES, {"cursor": cursor}))

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
    def test_a_filter_compares(self, owner, owner_api, query, found):
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
    def test_a_query_of_any_other_shape_is_422(self, device, owner_api, query):
        assert pointers(owner_api.get(DEVICES, query))

    def test_all_keys_of_metadata_are_compared_by_one_filter(self, owner_api, monkeypatch):
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


class TestOne:
    def test_what_is_shown_are_the_columns_and_no_more(self, device, owner_api):
        assert set(owner_api.get(one(device)).json()) == {
            "id", "name", "device_type", "status", "metadata", "expected_interval",
            "last_seen_at", "created_at", "updated_at",
        }  # fmt: skip

    def test_a_patch_changes_what_it_names(self, device, owner_api):
        answer = owner_api.patch(one(device), {"name": "shed"})
        assert answer.status_code == 200
        assert answer.json()["name"] == "shed"
        device.refresh_from_db()
        assert (device.name, device.expected_interval) == ("shed", 60)

    def test_a_patch_replaces_metadata_whole(self, device, owner_api):
        owner_api.patch(one(device), {"metadata": {"a": 1, "b": 2}})
        owner_api.patch(one(device), {"metadata": {"a": {"c": 3}}})
        assert owner_api.get(one(device)).json()["metadata"] == {"a": {"c": 3}}

    @pytest.mark.parametrize(
        ("body", "pointer"),
        [
            ({"name": ""}, "/name"),
            ({"status": "online"}, "/status"),
            ({"metadata": {"a": "\0"}}, "/metadata/a"),
            ({"metadata": []}, "/metadata"),
            ({"user": 1}, "/user"),
            ([], ""),
        ],
    )
    def test_a_bad_patch_is_422_and_changes_nothing(self, device, owner_api, body, pointer):
        before = owner_api.get(one(device)).json()
        assert pointer in pointers(owner_api.patch(one(device), body))
        assert owner_api.get(one(device)).json() == before

    def test_a_deleted_device_is_gone_for_everybody_at_once(self, device, owner_api):
        api = Api(device_token(device))
        assert owner_api.delete(one(device)).status_code == 204
        assert owner_api.get(one(device)).status_code == 404
        assert owner_api.delete(one(device)).status_code == 404
        assert names(owner_api.get(DEVICES)) == []
        assert api.get("/api/v1/device").status_code == 401
        reading = {"telemetry_type": "a", "payload": {"a": 1}}
        assert api.post("/api/v1/device/telemetry", reading).status_code == 401

    def test_a_device_learns_who_it_is_and_is_seen_doing_so(self, device, device_api):
        answer = device_api.get("/api/v1/device")
        assert answer.status_code == 200
        told = answer.json()
        assert set(told) == {"id", "name", "pending_commands", "server_time", "live_url"}
        assert told["live_url"] == f"http://testserver:{settings.LIVE_PORT}"
        assert answer.json()["name"] == "greenhouse"
        age = datetime.now(UTC) - datetime.fromisoformat(answer.json()["server_time"])
        assert abs(age.total_seconds()) < 60
        device.refresh_from_db()
        assert device.status == "online"

    def test_a_user_is_no_device(self, owner_api):
        assert owner_api.get("/api/v1/device").status_code == 403

    def test_a_device_may_not_read_or_change_itself_as_its_owner_may(self, device, device_api):
        assert device_api.get(one(device)).status_code == 403
        assert device_api.patch(one(device), {"name": "x"}).status_code == 403
        assert device_api.delete(one(device)).status_code == 403
        assert device_api.post(f"{one(device)}/tokens/rotate").status_code == 403


class TestTokens:
    def test_a_new_token_is_shown_once_and_its_hash_never(self, device, owner_api):
        answer = owner_api.post(f"{one(device)}/tokens", {"label": "workshop"})
        assert answer.status_code == 201
        secret = answer.json()["token"]
        listed = owner_api.get(f"{one(device)}/tokens")
        assert [token["label"] for token in listed.json()["results"]] == ["workshop"]
        assert set(listed.json()["results"][0]) == {
            "id", "label", "prefix", "revoked", "expires_at", "last_used_at", "created_at",
        }  # fmt: skip
        digest = bytes(DeviceToken.objects.get().token_hash)
        for shown in (answer.content, listed.content):
            assert digest.hex().encode() not in shown
        assert secret.encode() not in listed.content
        assert Api(secret).get("/api/v1/device").status_code == 200

    def test_a_revoked_token_is_refused_on_the_next_request(self, device, owner_api):
        token, secret = device_token_and_row(device)
        assert Api(secret).get("/api/v1/device").status_code == 200
        assert owner_api.delete(f"{one(device)}/tokens/{token.pk}").status_code == 204
        assert Api(secret).get("/api/v1/device").status_code == 401
        assert owner_api.get(f"{one(device)}/tokens").json()["results"][0]["revoked"] is True

    def test_rotation_answers_a_token_that_works_beside_the_one_in_use(
        self, device, device_api, owner_api
    ):
        answer = owner_api.post(f"{one(device)}/tokens/rotate")
        assert answer.status_code == 201
        assert device_api.get("/api/v1/device").status_code == 200
        assert Api(answer.json()["token"]).get("/api/v1/device").status_code == 200

    def test_the_eleventh_token_is_409(self, device, owner_api):
        for _ in range(10):
            assert owner_api.post(f"{one(device)}/tokens").status_code == 201
        answer = owner_api.post(f"{one(device)}/tokens")
        assert answer.status_code == 409
        assert answer.json()["type"] == "urn:telemetry:problem:too-many-tokens"

    def test_a_token_is_found_under_its_own_device_only(self, owner, device, owner_api):
        token, secret = device_token_and_row(DeviceFactory.create(user=owner))
        assert owner_api.delete(f"{one(device)}/tokens/{token.pk}").status_code == 404
        assert Api(secret).get("/api/v1/device").status_code == 200

    @pytest.mark.parametrize(
        ("body", "pointer"),
        [
            ({"label": "x" * 101}, "/label"),
            ({"scope": "all"}, "/scope"),
            ({"label": None}, "/label"),
        ],
    )
    def test_a_bad_body_is_422(self, device, owner_api, body, pointer):
        assert pointers(owner_api.post(f"{one(device)}/tokens", body)) == [pointer]

    def test_tokens_come_in_pages(self, device, owner_api):
        for _ in range(5):
            device_token(device)
        first = owner_api.get(f"{one(device)}/tokens", {"limit": 3}).json()
        second = owner_api.get(f"{one(device)}/tokens", {"cursor": first["next"]}).json()
        assert len(first["results"]) == 3
        assert len({token["id"] for token in first["results"] + second["results"]}) == 5
        assert second["next"] is None
