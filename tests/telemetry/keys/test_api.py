"""Keys over the API."""

import pytest

from telemetry.models import Key
from tests.factories import NOW, DeviceFactory, register_key


def of(device, rest=""):
    return f"/api/v1/devices/{device.pk}/keys{rest}"


TEMPERATURE = {
    "key": "environment.temperature",
    "telemetry_type": "environment",
    "path": "temperature",
    "since": "2025-06-15T12:00:00.000000Z",
    "last_hour": None,
    "label": "temperature",
    "unit": "°C",
    "decimals": 1,
    "defaults": {"label": "temperature", "unit": "°C", "decimals": 1},
}


def test_all_keys_are_listed_in_natural_order(device, owner, owner_api):
    for name in ("environment.t10", "environment.t9", "battery.gps.lat", "environment.temperature"):
        register_key(device, name)
    register_key(DeviceFactory.create(user=owner), "other.key")
    Key.objects.filter(key="gps.lat").update(last_hour=NOW)
    found = owner_api.get(of(device)).json()
    assert [key["key"] for key in found["results"]] == [
        "battery.gps.lat",
        "environment.t9",
        "environment.t10",
        "environment.temperature",
    ]
    assert found["next"] is None
    assert found["results"][0]["path"] == "gps.lat"
    assert found["results"][0]["last_hour"] == "2025-06-15T12:00:00.000000Z"
    assert found["results"][3] == TEMPERATURE


def test_a_device_without_readings_has_no_keys(device, owner_api):
    assert owner_api.get(of(device)).json() == {"results": [], "next": None}


def test_label_unit_and_decimals_are_set_and_reset(device, owner_api):
    path = of(device, "/" + register_key(device))
    assert owner_api.patch(path, {}).json() == TEMPERATURE
    chosen = {"label": "Room", "unit": "K", "decimals": 3}
    assert owner_api.patch(path, chosen).json() == {**TEMPERATURE, **chosen}
    assert owner_api.get(of(device)).json()["results"] == [{**TEMPERATURE, **chosen}]
    assert owner_api.patch(path, {"decimals": None}).json()["decimals"] is None
    assert owner_api.patch(path, {"unit": "1"}).json()["unit"] == ""
    assert owner_api.patch(path, {"label": "", "unit": ""}).json() == TEMPERATURE


def test_a_key_whose_path_has_dots_can_be_changed(device, owner_api):
    register_key(device, "environment.gps.lat")
    answer = owner_api.patch(of(device, "/environment.gps.lat"), {"label": "North"})
    assert (answer.json()["path"], answer.json()["label"]) == ("gps.lat", "North")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"label": "x" * 65}, "/label"),
        ({"label": None}, "/label"),
        ({"label": "a\0"}, "/label"),
        ({"label": "\ud800"}, "/label"),
        ({"label": ["a"]}, "/label"),
        ({"unit": "x" * 17}, "/unit"),
        ({"unit": {}}, "/unit"),
        ({"decimals": 11}, "/decimals"),
        ({"decimals": -1}, "/decimals"),
        ({"decimals": 1.5}, "/decimals"),
        ({"decimals": "many"}, "/decimals"),
        ({"decimals": 10**30}, "/decimals"),
        ({"since": "2020-01-01T00:00:00Z"}, "/since"),
        ({"unit": "K", "unti": "K"}, "/unti"),
        ([], ""),
        ("K", ""),
    ],
)
def test_an_invalid_change_is_422_with_a_pointer_and_changes_nothing(
    device, owner_api, body, pointer
):
    path = of(device, "/" + register_key(device))
    answer = owner_api.patch(path, body)
    assert answer.status_code == 422
    assert [fault["pointer"] for fault in answer.json()["errors"]] == [pointer]
    assert owner_api.get(of(device)).json()["results"] == [TEMPERATURE]


@pytest.mark.parametrize(
    "name",
    [
        "environment.humidity",
        "environment",
        "temperature",
        "environment.",
        "a b.c",
        "a.b%00",
        "a.é",
    ],
)
def test_an_unknown_key_is_404(device, owner_api, name):
    register_key(device)
    assert owner_api.patch(of(device, f"/{name}"), {"unit": "K"}).status_code == 404


def test_a_key_of_another_device_is_404(device, owner, owner_api):
    name = register_key(DeviceFactory.create(user=owner))
    assert owner_api.patch(of(device, f"/{name}"), {"unit": "K"}).status_code == 404
    assert not Key.objects.filter(unit="K").exists()
