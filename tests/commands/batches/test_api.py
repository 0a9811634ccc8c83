from datetime import timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from commands.models import Command, CommandBatch
from devices.models import Device
from tests.factories import NOW, CommandFactory, CommandTypeFactory, DeviceFactory, issue_batch

BATCHES = "/api/v1/command-batches"


@pytest.fixture
def fleet(owner):
    return [DeviceFactory.create(user=owner, name=f"device {n}") for n in range(3)]


def ids(devices):
    return sorted(str(device.pk) for device in devices)


def problem_pointers(response, status, kind=""):
    assert response.status_code == status, response.content
    document = response.json()
    assert document["type"].endswith(kind)
    return [fault["pointer"] for fault in document["errors"]]


def test_a_batch_creates_a_command_for_each_listed_device(fleet, owner_api):
    body = {"command_name": "set", "payload": {"a": 1}, "expires_in": 60, "devices": ids(fleet[:2])}
    response = owner_api.post(BATCHES, body)
    assert response.status_code == 201
    shown = response.json()
    assert shown["progress"] == {
        "asked": 2, "refused": 0, "pending": 2, "delivered": 0, "executed": 0, "failed": 0,
    }  # fmt: skip
    assert (shown["payload"], shown["refused"], shown["cancelled_at"]) == ({"a": 1}, [], None)
    results = owner_api.get(f"{BATCHES}/{shown['id']}/commands").json()["results"]
    assert ids(fleet[:2]) == sorted(one["device_id"] for one in results)
    assert {one["batch_id"] for one in results} == {shown["id"]}


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"device_type": "lamp"}, ["north"]),
        ({"search": "OR"}, ["north"]),
        ({"status": "online"}, ["south"]),
        ({"status": "offline"}, ["north"]),
        ({"metadata": {"room": "1"}}, ["north"]),
        ({"metadata": {"room": "1", "floor": "2"}}, []),
        ({"device_type": "lamp", "metadata": {"room": "2"}}, []),
    ],
)
def test_a_batch_creates_a_command_for_each_device_that_a_filter_matches(
    owner, stranger, owner_api, wanted, expected
):
    fields = {"device_type": "lamp", "metadata": {"room": 1, "floor": 1}}
    DeviceFactory.create(user=owner, name="north", **fields)
    DeviceFactory.create(user=owner, name="south", last_seen_at=timezone.now())
    DeviceFactory.create(user=stranger, name="north", **fields)
    response = owner_api.post(BATCHES, {"command_name": "a", "filter": wanted})
    if not expected:
        problem_pointers(response, 422, "no-devices")
    names = Command.objects.values_list("device__name", "device__user")
    assert list(names) == [(name, owner.pk) for name in expected]


def test_a_device_of_another_user_is_reported_as_not_found(fleet, stranger, owner_api):
    device_of_stranger = DeviceFactory.create(user=stranger)
    unknown_id = uuid4()
    body = {
        "command_name": "a",
        "devices": [*ids(fleet), str(device_of_stranger.pk), str(unknown_id)],
    }
    shown = owner_api.post(BATCHES, body).json()
    assert shown["progress"]["refused"] == 2
    assert {one["device_id"]: (one["code"], one["detail"]) for one in shown["refused"]} == {
        str(device_of_stranger.pk): ("not-found", "This device does not exist."),
        str(unknown_id): ("not-found", "This device does not exist."),
    }
    assert not device_of_stranger.commands.exists()


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"command_name": "a"}, ""),
        ({"command_name": "a", "devices": [], "filter": {"search": "x"}}, "/devices"),
        ({"command_name": "a", "devices": ["x"]}, "/devices/0"),
        ({"command_name": "a", "devices": [str(uuid4())] * 1001}, "/devices"),
        ({"command_name": "a", "filter": {}}, "/filter"),
        ({"command_name": "a", "filter": {"owner": "me"}}, "/filter/owner"),
        ({"command_name": "a", "filter": {"status": "asleep"}}, "/filter/status"),
        ({"command_name": "a", "filter": {"search": "\0"}}, "/filter/search"),
        ({"command_name": "a", "filter": {"metadata": {"a" * 65: "1"}}}, "/filter/metadata"),
        ({"command_name": "a", "filter": {"metadata": {"a": "\0"}}}, "/filter/metadata/a"),
        ({"command_name": "a", "filter": {"metadata": []}}, "/filter/metadata"),
        ({"command_name": "a b", "filter": {"search": "x"}}, "/command_name"),
    ],
)
def test_an_invalid_batch_is_422_with_a_pointer(fleet, owner_api, body, pointer):
    assert pointer in problem_pointers(owner_api.post(BATCHES, body), 422)
    assert not CommandBatch.objects.exists()


def test_a_payload_that_all_devices_reject_is_422_with_each_error_once(owner, owner_api):
    schema = {"properties": {"a": {"type": "integer"}}}
    CommandTypeFactory.create(device_type="lamp", command_name="set", payload_schema=schema)
    fleet = DeviceFactory.create_batch(3, user=owner, device_type="lamp")
    body = {"command_name": "set", "payload": {"a": "x"}, "devices": ids(fleet)}
    assert problem_pointers(owner_api.post(BATCHES, body), 422) == ["/payload/a"]


def test_a_filter_that_matches_more_than_a_thousand_devices_is_422(owner, owner_api):
    Device.objects.bulk_create(Device(user=owner, name="many") for _ in range(1001))
    response = owner_api.post(BATCHES, {"command_name": "a", "filter": {"search": "many"}})
    problem_pointers(response, 422, "too-many-devices")


def test_a_batch_can_list_a_thousand_devices(owner, owner_api):
    fleet = DeviceFactory.create_batch(1000, user=owner)
    payload = {"a": list(range(256))}
    body = {"command_name": "a", "payload": payload, "devices": ids(fleet)}
    assert owner_api.post(BATCHES, body).json()["progress"]["pending"] == 1000
    payload["a"].append(0)
    assert problem_pointers(owner_api.post(BATCHES, body), 422) == ["/payload"]


def test_the_same_key_returns_the_same_batch(fleet, owner_api):
    body = {"command_name": "a", "filter": {"search": "device"}}
    first, again = (
        owner_api.post(BATCHES, body, headers={"Idempotency-Key": "k"}) for _ in range(2)
    )
    assert first.json() == again.json()
    assert Command.objects.count() == 3


def test_a_batch_is_cancelled(fleet, owner_api, device):
    batch = issue_batch(*fleet)
    shown = owner_api.post(f"{BATCHES}/{batch.pk}/cancel").json()
    assert shown["progress"]["failed"] == 3
    assert shown["cancelled_at"]
    assert set(Command.objects.values_list("reason", flat=True)) == {"cancelled"}


def test_the_list_has_the_users_own_batches_with_the_newest_first(fleet, stranger, owner_api):
    old = issue_batch(*fleet, now=timezone.now() - timedelta(minutes=1))
    new = issue_batch(*fleet)
    issue_batch(DeviceFactory.create(user=stranger))
    assert [one["id"] for one in owner_api.get(BATCHES).json()["results"]] == [
        str(new.pk), str(old.pk),
    ]  # fmt: skip


def test_results_are_paginated_without_deleted_devices(fleet, owner_api):
    batch = issue_batch(*fleet)
    owner_api.delete(f"/api/v1/devices/{fleet[0].pk}")
    page = owner_api.get(f"{BATCHES}/{batch.pk}/commands", {"limit": 1}).json()
    rest = owner_api.get(f"{BATCHES}/{batch.pk}/commands", {"cursor": page["next"]}).json()
    found = [one["device_id"] for one in page["results"] + rest["results"]]
    assert sorted(found) == ids(fleet[1:])


def test_reading_a_batch_takes_the_same_queries_for_any_number_of_devices(
    owner, owner_api, django_assert_num_queries
):
    for count in (1, 50):
        batch = issue_batch(*DeviceFactory.create_batch(count, user=owner), now=NOW)
        CommandFactory.create_batch(3)
        owner_api.get(BATCHES)
        # The token, the batch, its progress.
        with django_assert_num_queries(3):
            owner_api.get(f"{BATCHES}/{batch.pk}")
