"""The history of a device over the API: pages, single readings, the latest readings."""

from datetime import timedelta

import pytest

from tests.factories import NOW, DeviceFactory, store_reading, store_readings
from tests.problems import error_pointers, read_problem
from tests.telemetry.ingest_requests import telemetry_path


class TestReading:
    def test_history_is_returned_in_pages_with_the_newest_first(self, device, owner_api):
        store_readings(device, payloads=[{"n": number} for number in range(5)])
        first = owner_api.get(telemetry_path(device), {"limit": 3}).json()
        second = owner_api.get(telemetry_path(device), {"limit": 3, "cursor": first["next"]}).json()
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
    def test_history_is_filtered_and_sorted_by_query_parameters(
        self, device, owner_api, query, found
    ):
        for number in range(4):
            store_reading(
                device,
                payload={"n": number},
                telemetry_type="odd" if number % 2 else "even",
                recorded_at=NOW + timedelta(seconds=number),
            )
        page = owner_api.get(telemetry_path(device), query)
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
    def test_an_invalid_query_is_422_with_a_pointer(self, device, owner_api, query, pointer):
        assert error_pointers(owner_api.get(telemetry_path(device), query))[0].startswith(pointer)

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
    def test_an_unknown_reading_is_404(self, device, owner_api, reading_id):
        read_problem(owner_api.get(telemetry_path(device, f"/{reading_id}")), 404)

    def test_a_reading_of_another_device_is_404(self, owner, device, owner_api):
        other = store_reading(DeviceFactory.create(user=owner))
        read_problem(owner_api.get(telemetry_path(device, f"/{other.pk}")), 404)

    def test_a_device_reads_its_history_but_not_single_readings_latest_or_series(
        self, device, device_api
    ):
        reading = store_reading(device)
        assert device_api.get(telemetry_path(device)).status_code == 200
        for rest in (f"/{reading.pk}", "/latest", "/series"):
            read_problem(device_api.get(telemetry_path(device, rest)), 403)

    def test_the_latest_readings_have_label_unit_and_decimals_of_each_value(
        self, device, owner_api
    ):
        store_readings(device, payloads=[{"t": 1}, {"t": 2, "gps": {"ok": True, "lat": 52.5}}])
        store_reading(device, telemetry_type="battery", payload={"voltage": 3.7})

        def shown(key, value, unit="", decimals=None):
            path = key.partition(".")[2]
            return {"key": key, "path": path, "value": value,
                    "label": path, "unit": unit, "decimals": decimals}  # fmt: skip

        assert owner_api.get(telemetry_path(device, "/latest")).json() == {
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

    def test_a_device_without_readings_has_no_latest_readings(self, device, owner_api):
        assert owner_api.get(telemetry_path(device, "/latest")).json() == {"results": []}
