"""The history of a device over the API: in pages, one reading, the latest."""

from datetime import timedelta

import pytest

from tests.factories import NOW, DeviceFactory, store_reading, store_readings
from tests.problems import pointers, told
from tests.telemetry.sending import of


class TestReading:
    def test_history_comes_newest_first_in_pages(self, device, owner_api):
        store_readings(device, payloads=[{"n": number} for number in range(5)])
        first = owner_api.get(of(device), {"limit": 3}).json()
        second = owner_api.get(of(device), {"limit": 3, "cursor": first["next"]}).json()
        assert [one["payload"]["n"] for one in first["results"] + second["results"]] == [
            4, 3, 2, 1, 0,
        ]  # fmt: skip
        assert second["next"] is None
        assert set(first["results"][0]) == {
            "id", "device_id", "telemetry_type", "payload", "recorded_at", "created_at",
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ({"order": "asc"}, [0, 1, 2, 3]),
            ({"telemetry_type": "odd"}, [3, 1]),
            ({"telemetry_type": "Odd"}, []),
            ({"from": "2025-06-15T12:00:01Z"}, [3, 2, 1]),
            ({"to": "2025-06-15T12:00:01Z"}, [0]),
            ({"from": "2025-06-15T14:00:01+02:00", "to": "2025-06-15T12:00:03Z"}, [2, 1]),
            ({"from": "2025-06-15T12:00:03Z", "to": "2025-06-15T12:00:01Z"}, []),
            ({"from": "0001-01-01T00:00:00Z", "to": "9999-12-31T23:59:59Z"}, [3, 2, 1, 0]),
        ],
    )
    def test_history_can_be_filtered_and_turned(self, device, owner_api, query, found):
        for number in range(4):
            store_reading(
                device,
                payload={"n": number},
                telemetry_type="odd" if number % 2 else "even",
                recorded_at=NOW + timedelta(seconds=number),
            )
        page = owner_api.get(of(device), query)
        assert [one["payload"]["n"] for one in page.json()["results"]] == found

    @pytest.mark.parametrize(
        ("query", "pointer"),
        [
            ({"payload__a__regex": "("}, "/payload__a__regex"),
            ({"payload__" + "a__" * 300 + "x": "1"}, "/payload__"),
            ({"device__user__password__startswith": "a"}, "/device__user"),
            ({"ordering": "id"}, "/ordering"),
            ({"a\0": "1"}, "/a\\u0000"),
            ({"telemetry_type": "\0"}, "/telemetry_type"),
            ({"telemetry_type": "a'--"}, "/telemetry_type"),
            ({"order": "random()"}, "/order"),
            ({"limit": "0"}, "/limit"),
            ({"limit": "1001"}, "/limit"),
            ({"limit": "x"}, "/limit"),
            ({"limit": "9" * 5000}, "/limit"),
            ({"cursor": "garbage"}, "/cursor"),
            ({"cursor": "\0"}, "/cursor"),
            ({"cursor": "A" * 65}, "/cursor"),
            ({"cursor": "f" * 32}, "/cursor"),
            ({"from": "2025-06-15T12:00:00"}, "/from"),
            ({"from": "yesterday"}, "/from"),
            ({"to": "%00"}, "/to"),
        ],
    )
    def test_a_query_of_any_other_shape_is_422(self, device, owner_api, query, pointer):
        assert pointers(owner_api.get(of(device), query))[0].startswith(pointer)

    @pytest.mark.parametrize(
        "reading_id",
        [
            "00000000-0000-0000-0000-000000000000",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
            "019c13ec-9e7b-855d-a7ed-51af32f2ed25",
            "{019c13ec-9e7b-855d-a7ed-51af32f2ed25}",
            "urn:uuid:019c13ec-9e7b-855d-a7ed-51af32f2ed25",
            "1",
        ],
    )
    def test_a_reading_that_is_not_there_is_404(self, device, owner_api, reading_id):
        told(owner_api.get(of(device, f"/{reading_id}")), 404)

    def test_a_reading_is_found_under_its_own_device_only(self, owner, device, owner_api):
        other = store_reading(DeviceFactory.create(user=owner))
        told(owner_api.get(of(device, f"/{other.pk}")), 404)

    def test_a_device_may_send_to_its_path_but_reads_nothing_else(self, device, device_api):
        reading = store_reading(device)
        assert device_api.get(of(device)).status_code == 200
        for rest in (f"/{reading.pk}", "/latest", "/series"):
            told(device_api.get(of(device, rest)), 403)

    def test_the_latest_are_shown_with_the_measure_of_each_value(self, device, owner_api):
        store_readings(device, payloads=[{"t": 1}, {"t": 2, "gps": {"ok": True, "lat": 52.5}}])
        store_reading(device, telemetry_type="battery", payload={"voltage": 3.7})

        def shown(key, value, unit="", decimals=None):
            path = key.partition(".")[2]
            return {"key": key, "path": path, "value": value,
                    "label": path, "unit": unit, "decimals": decimals}  # fmt: skip

        assert owner_api.get(of(device, "/latest")).json() == {
            "results": [
                {
                    "telemetry_type": "battery",
                    "recorded_at": "2025-06-15T12:00:00.000000Z",
                    "values": [shown("battery.voltage", 3.7, "V", 2)],
                },
                {
                    "telemetry_type": "environment",
                    "recorded_at": "2025-06-15T12:00:01.000000Z",
                    "values": [
                        shown("environment.t", 2),
                        shown("environment.gps.ok", True),
                        shown("environment.gps.lat", 52.5, "°", 5),
                    ],
                },
            ]
        }

    def test_a_device_that_said_nothing_has_no_latest(self, device, owner_api):
        assert owner_api.get(of(device, "/latest")).json() == {"results": []}
