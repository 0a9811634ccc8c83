"""Exports over HTTP: parameters, permissions, and changes during an export."""

import json
from datetime import timedelta

import pytest
from django.db import connection

from common import quotas
from telemetry.ingest import storage
from telemetry.models import Telemetry
from telemetry.rollups import build as rollups
from telemetry.transfer import export
from telemetry.transfer.export import Selection
from tests.conftest import Api
from tests.factories import (
    NOW,
    DeviceFactory,
    device_token,
    make_reading,
    store_reading,
    store_readings,
    user_token,
)
from tests.telemetry.round_trip import FORMATS, stored_rows

# An export uses its own connection and reads committed rows only.
pytestmark = pytest.mark.django_db(transaction=True)

SECOND = timedelta(seconds=1)


def url(device, kind="export"):
    return f"/api/v1/devices/{device.pk}/telemetry/{kind}"


@pytest.mark.parametrize("format", FORMATS)
def test_an_export_without_readings_has_only_the_header(device, owner_api, format):
    answer = owner_api.get(url(device), {"format": format})

    assert answer.status_code == 200
    assert answer.getvalue() == export.HEADERS[format]


def test_an_export_contains_the_requested_readings_with_the_oldest_first(device, owner_api):
    store_readings(device, payloads=[{"n": number} for number in range(5)])
    store_reading(device, recorded_at=NOW + 2 * SECOND, telemetry_type="other")
    store_reading(DeviceFactory.create(), recorded_at=NOW + 2 * SECOND)

    answer = owner_api.get(
        url(device),
        {
            "format": "ndjson",
            "telemetry_type": "environment",
            "from": (NOW + SECOND).isoformat(),
            "to": (NOW + 4 * SECOND).isoformat(),
        },
    )

    lines = answer.getvalue().splitlines()
    assert [json.loads(line)["payload"]["n"] for line in lines] == [1, 2, 3]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"format": "xml"}, "/format"),
        ({"telemetry_type": "a b"}, "/telemetry_type"),
        ({"key": "temperature"}, "/key/0"),
        ({"key": "a.b", "format": "ndjson"}, "/key/0"),
        ({"key": [f"a.b{number}" for number in range(21)]}, "/key"),
        ({"from": "2025-06-15"}, "/from"),
        ({"from": "2025-06-15T12:00:00Z", "to": "2025-06-15T12:00:00Z"}, "/to/0"),
        ({"limit": "5"}, "/limit"),
    ],
)
def test_an_invalid_query_is_422(device, owner_api, query, pointer):
    answer = owner_api.get(url(device), query)

    assert answer.status_code == 422
    assert pointer.startswith(answer.json()["errors"][0]["pointer"])


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("greenhouse", 'attachment; filename="greenhouse.csv"'),
        ("../../etc/passwd", 'attachment; filename="etc_passwd.csv"'),
        ('a"b\r\nX: y\\', 'attachment; filename="a_b_X_y.csv"'),
        ("Zürich", "attachment; filename*=utf-8''Z%C3%BCrich.csv"),
        ("\u202egpj.exe", 'attachment; filename="gpj.exe.csv"'),
        ("…", 'attachment; filename="readings.csv"'),
        ("x" * 200, f'attachment; filename="{"x" * 60}.csv"'),
    ],
)
def test_the_file_name_is_the_name_of_the_device_without_unsafe_characters(
    owner, owner_api, name, header
):
    answer = owner_api.get(url(DeviceFactory.create(user=owner, name=name)))

    assert answer["Content-Disposition"] == header
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert answer["Cache-Control"] == "no-store"
    answer.close()


def test_a_head_request_for_an_export_has_no_body(device, owner_api):
    answer = owner_api.send("HEAD", url(device))

    assert (answer.status_code, answer.getvalue()) == (200, b"")
    assert answer["Content-Type"] == "text/csv; charset=utf-8"


@pytest.fixture
def many(device):
    """More readings than one batch of an export."""
    batch = [
        make_reading(device, payload={"n": number}, recorded_at=NOW + number * SECOND)
        for number in range(2 * export.FETCH_SIZE + 1)
    ]
    storage.store(device, batch, now=NOW)
    return len(batch)


def sessions():
    """Return the process ids of other connections with an open transaction."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
            " AND backend_type = 'client backend' AND xact_start IS NOT NULL"
            " AND pid <> pg_backend_pid()"
        )
        return [pid for (pid,) in cursor.fetchall()]


def test_readings_stored_during_an_export_are_not_in_it(device, many):
    pieces = export.export_readings(Selection(device), format="ndjson")
    first = next(pieces)
    store_reading(device, recorded_at=NOW - SECOND)
    store_reading(device, recorded_at=NOW + timedelta(hours=1))

    assert len((first + b"".join(pieces)).splitlines()) == many


def test_a_slow_download_holds_no_transaction(device, owner_api, many):
    answer = owner_api.get(url(device))

    assert not sessions()
    store_reading(device, recorded_at=NOW - SECOND)
    content = answer.getvalue()
    assert len(content.splitlines()) == many + 1
    assert answer["Content-Length"] == str(len(content))


@pytest.mark.parametrize("format", FORMATS)
def test_an_export_that_fails_midway_is_503_instead_of_a_partial_file(
    device, owner_api, many, format, monkeypatch
):
    pieces = export.export_readings

    def broken(selection, *, format):
        for number, piece in enumerate(pieces(selection, format=format)):
            if number:
                with connection.cursor() as cursor:
                    cursor.execute("SELECT pg_terminate_backend(%s, 5000)", sessions())
            yield piece

    monkeypatch.setattr(export, "export_readings", broken)
    answer = owner_api.get(url(device), {"format": format})

    assert (answer.status_code, answer["Retry-After"]) == (503, "1")


@pytest.mark.parametrize(
    ("setting", "value", "status", "code"),
    [
        ("EXPORT_LIMIT", 100, 422, "export-too-large"),
        ("DISK_RESERVE", 2**60, 507, "disk-full"),
    ],
)
def test_an_export_that_is_too_large_or_finds_the_disk_full_is_rejected(
    device, owner_api, many, settings, monkeypatch, setting, value, status, code
):
    monkeypatch.setattr(export, "CHECK_INTERVAL_BYTES", 10)
    monkeypatch.setattr(quotas._DiskState, "checked_at", float("-inf"))
    monkeypatch.setattr(quotas._DiskState, "is_full", False)
    setattr(settings, setting, value)

    answer = owner_api.get(url(device))

    assert answer.status_code == status
    assert answer.json()["type"].endswith(f":{code}")


def test_an_export_that_gets_no_lock_is_503(device, owner_api, monkeypatch):
    monkeypatch.setattr(export, "TIMEOUT_MS", 50)
    other = connection.copy()
    try:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute("LOCK TABLE telemetry IN ACCESS EXCLUSIVE MODE")
        answer = owner_api.get(url(device))
    finally:
        other.close()

    assert (answer.status_code, answer["Retry-After"]) == (503, "1")


def test_an_export_is_404_for_another_user_and_403_for_a_device(device, stranger_api, many):
    assert stranger_api.get(url(device)).status_code == 404
    assert Api(device_token(device)).get(url(device)).status_code == 403


def test_an_export_can_be_imported_over_http(device, owner, many):
    api = Api(user_token(owner))
    before = stored_rows(device)
    files = {kind: api.get(url(device), {"format": kind}).getvalue() for kind in FORMATS}

    for kind, media_type in [("csv", "text/csv"), ("ndjson", "application/x-ndjson")]:
        Telemetry.objects.filter(device=device).delete()
        answer = api.post(url(device, "import"), files[kind], content_type=media_type)
        assert answer.json() == {
            "dry_run": False,
            "accepted": many,
            "duplicates": 0,
            "rejected_count": 0,
            "rejected": [],
            "stopped": "",
        }
        assert stored_rows(device) == before


@pytest.mark.parametrize("resolution", ["hour", "day"])
def test_a_bucketed_export_equals_the_values_of_charts(device, owner_api, resolution):
    payloads = [{"t": number, "text": "x"} for number in range(5)]
    store_readings(device, payloads=payloads, recorded_at=NOW - timedelta(days=60))
    store_readings(device, payloads=payloads, recorded_at=NOW - timedelta(minutes=61))
    rollups.process_queue()
    asked = {"resolution": resolution, "key": "environment.t"}

    lines = owner_api.get(url(device), asked).getvalue().decode().splitlines()

    old = "2025-04-16T12" if resolution == "hour" else "2025-04-16T00"
    new = "2025-06-15T10" if resolution == "hour" else "2025-06-15T00"
    assert lines[0] == "recorded_at," + ",".join(
        f"environment.t {name}" for name in ("avg", "min", "max", "count")
    )
    assert [line for line in lines[1:] if not line.endswith(",,,,0")] == [
        f"{old}:00:00.000000Z,2.0,0.0,4.0,5",
        f"{new}:00:00.000000Z,2.0,0.0,4.0,5",
    ]


def test_a_bucketed_export_without_keys_is_422(device, owner_api):
    answer = owner_api.get(url(device), {"resolution": "day"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/key"


def test_a_bucketed_export_is_available_as_ndjson(device, owner_api):
    store_readings(device, payloads=[{"t": 1}, {"t": 2}], recorded_at=NOW - timedelta(days=60))
    rollups.process_queue()
    asked = {"resolution": "day", "key": "environment.t", "format": "ndjson"}

    lines = owner_api.get(url(device), asked).getvalue().decode().splitlines()

    assert json.loads(lines[0]) == {
        "recorded_at": "2025-04-16T00:00:00.000000Z",
        "values": {"environment.t": {"avg": 1.5, "min": 1, "max": 2, "count": 2}},
    }
