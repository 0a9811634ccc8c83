"""Imports of files over HTTP."""

import gzip
import io
import json

import pytest
from django.test import RequestFactory

from devices import services as device_services
from telemetry.api.import_export import ImportView
from telemetry.models import Telemetry
from telemetry.transfer import import_batches
from tests.factories import NOW, store_reading, user_token
from tests.telemetry.import_runs import office

CSV, NDJSON = "text/csv", "application/x-ndjson"
TIME = "2025-06-04T17:51:00Z"


def line(**fields):
    reading = {"telemetry_type": "a", "payload": {"b": 1}, "recorded_at": TIME, **fields}
    return json.dumps({name: value for name, value in reading.items() if value is not ...})


@pytest.fixture
def send(device, owner_api):
    """Send a file for the device as its owner."""

    def send(content, media_type=CSV, api=owner_api, **query):
        body = content.encode() if isinstance(content, str) else content
        query = "&".join(f"{name}={value}" for name, value in query.items())
        path = f"/api/v1/devices/{device.pk}/telemetry/import?{query}"
        return api.post(path, body, content_type=media_type)

    return send


def test_a_table_is_imported_with_the_options_of_the_command(device, send):
    answer = send(
        "when;Temp (°C)\n04.06.2025 19:51;21,5\n",
        "text/csv; charset=UTF-8",
        telemetry_type="air",
        time_zone="Europe/Brussels",
        time_column="when",
        delimiter=";",
    )

    assert answer.status_code == 200
    assert answer.json() == {
        "dry_run": False,
        "accepted": 1,
        "duplicates": 0,
        "rejected_count": 0,
        "rejected": [],
        "stopped": "",
    }
    reading = Telemetry.objects.get(device=device)
    assert reading.telemetry_type == "air"
    assert reading.payload == {"Temp_C": 21.5}
    assert reading.recorded_at.isoformat() == "2025-06-04T17:51:00+00:00"


def test_a_second_import_stores_nothing_and_imports_do_not_update_last_seen(device, send):
    assert send(office(2143)).json()["accepted"] == 2143
    again = send(office(2143)).json()

    assert (again["accepted"], again["duplicates"]) == (0, 2143)
    device.refresh_from_db()
    assert device.last_seen_at is None


def test_a_dry_run_reports_the_result_and_stores_nothing(device, send):
    send(office(3))

    answer = send(office(5) + "1,noon,1,2,3,4,5,6\n", dry_run="true").json()

    assert answer["dry_run"]
    assert (answer["accepted"], answer["duplicates"], answer["rejected_count"]) == (2, 3, 1)
    assert device.readings.count() == 3


def test_rejected_lines_are_reported_with_line_code_and_pointer(device, send):
    lines = [
        line(),
        "",
        line(payload={"b": "\0", "c": 2**53 + 1}),
        "not json",
        b'{"payload": "\xff"}',
        "5",
        line(recorded_at=...),
        line(recorded_at=None),
        line(recorded_at="1970-01-01T00:00:00Z"),
        line(unit="C"),
        '{"telemetry_type": "a", "payload": {"b": 1, "b": 2}, "recorded_at": "' + TIME + '"}',
        line(payload={"b": 2}),
    ]
    body = b"\n".join(one if isinstance(one, bytes) else one.encode() for one in lines)

    answer = send(body, NDJSON).json()

    assert (answer["accepted"], answer["rejected_count"], answer["stopped"]) == (2, 9, "")
    assert [(one["line"], one["pointer"], one["code"]) for one in answer["rejected"]] == [
        (3, "/payload/b", "nul-character"),
        (3, "/payload/c", "number-too-large"),
        (4, "", "not-json"),
        (5, "", "not-json"),
        (6, "", "not-an-object"),
        (7, "/recorded_at", "required"),
        (8, "/recorded_at", "required"),
        (9, "/recorded_at", "time-out-of-range"),
        (10, "/unit", "unknown-field"),
        (11, "/payload", "duplicate-key"),
    ]
    assert all(one["detail"] for one in answer["rejected"])
    assert device.readings.count() == 2


def test_an_integer_beyond_2_53_is_accepted_if_it_is_an_exact_double(device, send):
    number = 12345678901234568000000000

    send(line(payload={"b": number, "list": [-(10**20)]}), NDJSON)
    refused = send(line(payload={"b": number + 1}), NDJSON)

    reading = Telemetry.objects.get(device=device)
    again = store_reading(
        device,
        telemetry_type="a",
        payload={"b": float(number), "list": [-1e20]},
        recorded_at=reading.recorded_at,
    )
    assert again == reading
    assert refused.json()["errors"][0]["code"] == "number-too-large"


def test_an_exported_file_keeps_the_types_of_its_rows(device, send):
    answer = send(
        '\ufeff"recorded_at","telemetry_type","payload"\r\n'
        + TIME
        + ',\'-a,"{""b"": ""\'=1""}"\r\n'
        + TIME
        + ",b,{}\r\n"
        + TIME
        + ",b\r\n"
        + TIME
        + ",b,5,\r\n",
        telemetry_type="unused",
    ).json()

    reading = Telemetry.objects.get(device=device)
    assert (reading.telemetry_type, reading.payload) == ("-a", {"b": "'=1"})
    assert [(one["line"], one["code"]) for one in answer["rejected"]] == [
        (3, "empty"),
        (4, "columns"),
        (5, "columns"),
    ]


def test_of_many_rejected_rows_the_first_are_listed_and_all_are_counted(send):
    count = import_batches.MAX_REPORTED + 7

    answer = send("time,a\n" + "noon,5\n" * count + "2025-06-04 17:51,5\n", time_column="time")

    assert answer.json()["rejected_count"] == count
    assert len(answer.json()["rejected"]) == import_batches.MAX_REPORTED


@pytest.mark.parametrize(
    ("content", "media_type", "pointer", "code"),
    [
        ("\n", CSV, "", "not-readable"),
        ("\n \n", NDJSON, "", "not-readable"),
        ("time,a\n", CSV, "", "not-readable"),
        (b"\xff\xfe", CSV, "", "not-readable"),
        ("x" * 1024 * 1024, NDJSON, "", "not-readable"),
        ("nothing\n", NDJSON, "/1", "not-json"),
        ("\n" + line(payload=5), NDJSON, "/2/payload", "not-an-object"),
        ("time,a\n2025-06-04 17:51,NA\n", CSV, "/2/payload", "empty"),
    ],
)
def test_a_file_without_any_reading_is_422_with_every_reason(
    device, send, content, media_type, pointer, code
):
    for dry_run in ("true", "false"):
        answer = send(content, media_type, dry_run=dry_run)

        assert answer.status_code == 422
        assert answer["Content-Type"] == "application/problem+json"
        (fault,) = answer.json()["errors"]
        assert (fault["pointer"], fault["code"]) == (pointer, code)
        assert fault["detail"]
    assert not device.readings.exists()


def test_rows_before_an_invalid_byte_are_stored(device, send):
    answer = send(office(1500).encode() + b"\xff\n").json()

    assert (answer["accepted"], device.readings.count()) == (1500, 1500)
    assert answer["stopped"].startswith("Not UTF-8 at byte")


@pytest.mark.parametrize(
    "media_type",
    ["", "application/json", "text/csv; charset=latin-1", "multipart/form-data; boundary=x"],
)
def test_an_unsupported_media_type_is_415(send, media_type):
    for content in ("", office()):
        assert send(content, media_type).status_code == 415


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"dry_run": "perhaps"}, "dry_run"),
        ({"telemetry_type": "a.b"}, "telemetry_type"),
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
        ({"delimiter": "ab"}, "delimiter"),
        ({"delimiter": "%0A"}, "delimiter"),
        ({"owner": "me"}, "owner"),
    ],
)
def test_an_invalid_option_is_422_and_nothing_is_stored(device, send, query, field):
    answer = send(office(), **query)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"].split("/")[1] == field
    assert not device.readings.exists()


def test_an_option_for_tables_is_422_for_ndjson(send):
    assert send(line(), NDJSON, time_zone="UTC").status_code == 422


@pytest.mark.parametrize("name", ["tab", "%09"])
def test_a_tab_can_be_the_delimiter(send, name):
    assert send("time\ta,b\n2025-06-04 17:51\t5\n", delimiter=name).json()["accepted"] == 1


def test_a_file_may_be_larger_than_other_bodies_up_to_its_own_limit(send, settings):
    settings.BODY_LIMIT, settings.IMPORT_LIMIT = 1000, 20_000
    file = office(100)
    assert len(file) > 1000

    assert send(file).json()["accepted"] == 100
    refused = send(office(1000))
    assert refused.status_code == 413
    assert "20000 bytes" in refused.json()["detail"]


def test_the_limit_of_a_compressed_file_applies_after_decompression(device, owner_api, settings):
    settings.IMPORT_LIMIT = len(office(100))
    path = f"/api/v1/devices/{device.pk}/telemetry/import"

    def answer(content, encoding="gzip"):
        headers = {"Content-Encoding": encoding}
        return owner_api.post(path, content, content_type=CSV, headers=headers)

    assert answer(gzip.compress(office(101).encode())).status_code == 413
    assert answer(gzip.compress(office().encode())[:-9]).status_code == 400
    assert answer(office().encode(), "br").status_code == 415
    assert not device.readings.exists()
    assert answer(gzip.compress(office(100).encode())).json()["accepted"] == 100


def test_a_truncated_body_is_400_and_stores_nothing(device, owner):
    # Neither the test client nor its server can send a body shorter than its length.
    request = RequestFactory().post(
        "/", office(), content_type=CSV, headers={"Authorization": f"Bearer {user_token(owner)}"}
    )
    request.META["CONTENT_LENGTH"] = str(len(office()) + 1)
    request._stream = io.BytesIO(office().encode())

    answer = ImportView.as_view()(request, device_id=device.pk)

    assert answer.status_code == 400
    assert not device.readings.exists()


@pytest.mark.parametrize("media_type", [CSV, NDJSON])
def test_a_request_without_a_body_is_422(device, owner_client, media_type):
    path = f"/api/v1/devices/{device.pk}/telemetry/import"
    answer = owner_client.generic("POST", path, headers={"Content-Type": media_type})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["code"] == "not-readable"


def test_for_a_deleted_device_or_another_user_an_import_is_404(device, send, stranger_api):
    assert send(office(), api=stranger_api).status_code == 404
    device_services.soft_delete(device, now=NOW)
    assert send(office()).status_code == 404
    assert not device.readings.exists()


def test_an_import_by_a_device_is_403(send, device_api):
    assert send(office(), api=device_api).status_code == 403
