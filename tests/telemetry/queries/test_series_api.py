"""Series over the API, as charts request them."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from tests.factories import NOW, store_readings
from tests.problems import error_pointers
from tests.telemetry.ingest_requests import telemetry_path

DAY = {"from": "2025-06-15T00:00:00Z", "to": "2025-06-16T00:00:00Z"}


class TestSeries:
    def test_several_keys_are_returned_as_columns(self, device, owner_api):
        store_readings(device, payloads=[{"t": 1, "h": True}, {"t": 2, "h": False}])
        query = [("key", "environment.t"), ("key", "environment.h"), ("points", 24), *DAY.items()]
        assert owner_api.get(telemetry_path(device, "/series"), query).json() == {
            "resolution": 3600,
            "source": "hour",
            "t": [1749988800],
            "series": {
                "environment.t": {"avg": [1.5], "min": [1], "max": [2], "count": [2]},
                "environment.h": {"avg": [0.5], "min": [0], "max": [1], "count": [2]},
            },
        }

    def test_buckets_begin_at_round_times_of_the_requested_zone(self, device, owner_api):
        store_readings(device, payloads=[{"t": 1}])
        query = {"key": "environment.t", "points": 1, "time_zone": "Asia/Kolkata", **DAY}
        answer = owner_api.get(telemetry_path(device, "/series"), query).json()
        assert answer["resolution"] == 24 * 3600
        assert datetime.fromtimestamp(answer["t"][0], ZoneInfo("Asia/Kolkata")).hour == 0

    def test_a_gap_of_all_keys_is_one_bucket_of_null(self, device, owner_api):
        for hours in (0, 5):
            store_readings(device, recorded_at=NOW + timedelta(hours=hours), payloads=[{"t": 1}])
        query = [("key", "environment.t"), ("key", "environment.none"), ("points", 24)]
        answer = owner_api.get(telemetry_path(device, "/series"), [*query, *DAY.items()]).json()
        assert answer["t"] == [1749988800, 1749988800 + 3600, 1749988800 + 5 * 3600]
        assert answer["series"] == {
            "environment.t": {
                "avg": [1, None, 1], "min": [1, None, 1], "max": [1, None, 1], "count": [1, 0, 1],
            },
            "environment.none": {name: [None] * 3 for name in ("avg", "min", "max")}
            | {"count": [0] * 3},
        }  # fmt: skip

    def test_a_repeated_key_is_returned_once(self, device, owner_api):
        query = [("key", "a.b"), ("key", "a.b"), *DAY.items()]
        assert list(owner_api.get(telemetry_path(device, "/series"), query).json()["series"]) == [
            "a.b"
        ]

    @pytest.mark.parametrize(
        ("query", "pointer"),
        [
            ([], "/key"),
            ([("key", "")], "/key"),
            ([("key", "bad")], "/key/0"),
            ([("key", "bad"), ("key", "a.b")], "/key/0"),
            ([("key", "a.b"), ("key", "a.'")], "/key/1"),
            ([("key", "a.b\0")], "/key/0"),
            ([("key", f"a.b{number}") for number in range(21)], "/key"),
            ([("key", "a.b"), ("points", "0")], "/points"),
            ([("key", "a.b"), ("points", "2001")], "/points"),
            ([("key", "a.b"), ("points", "many")], "/points"),
            ([("key", "a.b"), ("bucket", "1")], "/bucket"),
            ([("key", "a.b"), ("time_zone", "Europe/Atlantis")], "/time_zone"),
            ([("key", "a.b"), ("time_zone", "../UTC")], "/time_zone"),
            ([("key", "a.b"), ("time_zone", "Z" * 9999)], "/time_zone"),
            ([("key", "a.b"), ("from", "now")], "/from"),
            ([("key", "a.b"), ("to", "2025-06-15T00:00:00Z")], "/to"),
            ([("key", "a.b"), ("to", "2024-06-15T00:00:00Z")], "/to"),
        ],
    )
    def test_an_invalid_query_is_422_with_a_pointer(self, device, owner_api, query, pointer):
        asked = [*DAY.items(), *query]
        assert set(error_pointers(owner_api.get(telemetry_path(device, "/series"), asked))) == {
            pointer
        }

    @pytest.mark.parametrize("missing", ["from", "to"])
    def test_a_range_without_start_or_end_is_422(self, device, owner_api, missing):
        query = {"key": "a.b", **DAY}
        del query[missing]
        assert error_pointers(owner_api.get(telemetry_path(device, "/series"), query)) == [
            f"/{missing}"
        ]

    def test_the_longest_possible_range_is_accepted(self, device, owner_api):
        store_readings(device, payloads=[{"t": 1}])
        query = {"key": "environment.t", "points": 1, "from": "0001-01-01T00:00:00Z",
                 "to": "9999-12-31T23:59:59.999999Z"}  # fmt: skip
        answer = owner_api.get(telemetry_path(device, "/series"), query)
        assert answer.json()["series"]["environment.t"]["count"] == [1]
