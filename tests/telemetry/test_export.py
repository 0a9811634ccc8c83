"""Readings as files, and back."""

import csv
import io
import json
import logging
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from django.db import connection
from hypothesis import assume, given
from hypothesis import strategies as st

from telemetry import export, import_file, importing, ingest, readings, rollups
from telemetry.export import Selection
from telemetry.models import Telemetry
from tests.conftest import Api
from tests.factories import (
    NOW,
    DeviceFactory,
    UserFactory,
    device_token,
    make_reading,
    store_reading,
    store_readings,
    user_token,
)

# An export reads on a connection of its own, and sees what is committed.
pytestmark = pytest.mark.django_db(transaction=True)

SECOND = timedelta(seconds=1)
FORMATS = ["csv", "ndjson"]


def exported(selection, format):
    return b"".join(export.readings(selection, format=format))


def table(selection, *keys):
    """The rows of CSV with these columns, as Python reads them."""
    text = b"".join(export.table(selection, keys=keys)).decode()
    return list(csv.reader(io.StringIO(text, newline=""), strict=True))


def import_into(device, content):
    file = io.BytesIO(content)
    rows = import_file.rows(
        file,
        layout=import_file.layout_of(file),
        device_id=device.pk,
        telemetry_type="",
        zone=UTC,
        now=NOW,
    )
    return importing.bring_in(device, rows)


def stored(device):
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT recorded_at, id, telemetry_type, payload::text FROM telemetry"
            " WHERE device_id = %s ORDER BY recorded_at, id",
            [device.pk],
        )
        return cursor.fetchall()


def url(device, kind="export"):
    return f"/api/v1/devices/{device.pk}/telemetry/{kind}"


FORMULAS = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "'=1",
    "",
    '"',
    'a","b',
    "a\r\nb",
]
TEXTS = st.sampled_from(FORMULAS) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20
)
NUMBERS = (
    st.integers(-(2**53), 2**53)
    | st.floats(-1e30, 1e30)
    | st.sampled_from(
        [1e30, -1e30, 2.0**53 + 2, 1e20, 9.1e15, 1.2345678901234567e25, 5e-324, 1e-300]
    )
)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
READINGS = st.fixed_dictionaries(
    {
        "telemetry_type": st.from_regex(r"\A[A-Za-z0-9_-]{1,64}\Z") | st.sampled_from(["-1", "-"]),
        "payload": st.dictionaries(TEXTS, VALUES, min_size=1, max_size=4),
        "recorded_at": st.integers(-50 * 24 * 3600 * 10**6, 0).map(
            lambda microseconds: (NOW + timedelta(microseconds=microseconds)).isoformat()
        ),
    }
)
names = count()


@given(st.lists(READINGS, min_size=1, max_size=8), st.sampled_from(FORMATS))
def test_what_is_exported_and_imported_again_is_the_same(sent, format):
    user = UserFactory.create(
        username=f"traveller{next(names)}", email=f"{next(names)}@example.org"
    )
    device = DeviceFactory.create(user=user)
    valid, rejected = readings.parse_all(sent, device_id=device.pk, now=NOW)
    assume(not rejected)
    ingest.store(device, valid, now=NOW)
    before = stored(device)
    file = exported(Selection(device), format)

    again = import_into(device, file)
    assert (again.accepted, again.duplicates, again.refused) == (0, len(before), 0)

    Telemetry.objects.filter(device=device).delete()
    tally = import_into(device, file)
    assert (tally.accepted, tally.duplicates, tally.refused) == (len(before), 0, 0)
    assert stored(device) == before


def test_a_line_of_ndjson_is_what_the_ingest_takes(device, owner_api):
    reading = store_reading(device, payload={"t": -1.5, "gps": {"lat": 50.4}, "text": '\\n\n"ü€'})

    (line,) = exported(Selection(device), "ndjson").splitlines()

    answer = owner_api.post(f"/api/v1/devices/{device.pk}/telemetry", line)
    assert (answer.status_code, answer.json()["id"]) == (200, str(reading.pk))


def test_a_row_of_csv_is_the_time_the_type_and_the_payload_as_json(device):
    store_reading(device, telemetry_type="-a", payload={"b": 'say "hi", ü'})

    header, row = csv.reader(io.StringIO(exported(Selection(device), "csv").decode()), strict=True)

    assert header == ["recorded_at", "telemetry_type", "payload"]
    assert row[:2] == ["2025-06-15T12:00:00.000000Z", "'-a"]
    assert json.loads(row[2]) == {"b": 'say "hi", ü'}


CELLS = [
    ("=1+1", "'=1+1"),
    ("+1", "'+1"),
    ("-1", "'-1"),
    ("@SUM(A1)", "'@SUM(A1)"),
    ("\t=1", "'\t=1"),
    ("\r=1", "'\r=1"),
    ("\n=1", "'\n=1"),
    ('=HYPERLINK("http://x","y")', '\'=HYPERLINK("http://x","y")'),
    ("'=1", "'=1"),
    ("a=1", "a=1"),
    ('"', '"'),
    ("a\r\nb,c", "a\r\nb,c"),
    ("", ""),
    (-1, "-1"),
    (-1.5, "-1.5"),
    (1e30, "1" + "0" * 30),
    (True, "true"),
    (None, ""),
    (["=1", -1], '["=1", -1]'),
    ({}, "{}"),
]


def test_a_cell_shows_the_value_and_computes_nothing(device):
    store_readings(device, payloads=[{"a": value} for value, _ in CELLS])

    rows = table(Selection(device), "environment.a")

    assert [row[1] for row in rows] == ["environment.a", *(cell for _, cell in CELLS)]


def test_a_key_that_begins_with_a_minus_is_no_formula_either(device):
    store_reading(device, telemetry_type="-a", payload={"b": 5})

    assert [row[1] for row in table(Selection(device), "-a.b")] == ["'-a.b", "5"]


def test_each_key_is_a_column_and_readings_without_any_are_left_out(device):
    payloads = [{"t": 1, "h": 5}, {"other": 1}, {"h": 6}]
    store_readings(device, payloads=payloads)
    store_reading(device, recorded_at=NOW + 3 * SECOND, telemetry_type="power", payload={"t": 9})

    rows = table(Selection(device), "environment.h", "power.t", "environment.t")

    assert [row[1:] for row in rows[1:]] == [["5", "", "1"], ["6", "", ""], ["", "9", ""]]


def test_a_path_is_a_whole_key_first_and_then_its_parts(device):
    payloads = [{"a.b": 1, "a": {"b": 2}}, {"a": {"b": 3}}, {"a": [4, 5]}]
    store_readings(device, payloads=payloads)

    rows = table(Selection(device), "environment.a.b", "environment.a.1")

    assert [row[1:] for row in rows[1:]] == [["1", ""], ["3", ""], ["", "5"]]


@pytest.mark.django_db
def test_buckets_have_four_columns_for_each_key():
    begins = int(NOW.timestamp())
    pieces = [
        ([begins], {"a.b": [[1.5], [-2], [5.0], [3]], "-a.c": [[None], [None], [None], [0]]}),
        ([], {"a.b": [[], [], [], []], "-a.c": [[], [], [], []]}),
        ([begins + 3600], {"a.b": [[1], [1], [1], [1]], "-a.c": [[0.1], [0.1], [0.1], [2]]}),
    ]

    lines = b"".join(export._table_of(pieces, keys=["a.b", "-a.c"])).decode().splitlines()

    names = "a.b avg,a.b min,a.b max,a.b count,'-a.c avg,'-a.c min,'-a.c max,'-a.c count"
    assert lines == [
        f"recorded_at,{names}",
        "2025-06-15T12:00:00.000000Z,1.5,-2,5.0,3,,,,0",
        "2025-06-15T13:00:00.000000Z,1,1,1,1,0.1,0.1,0.1,2",
    ]


@pytest.mark.parametrize("format", FORMATS)
def test_an_export_without_readings_is_a_file_too(device, owner_api, format):
    answer = owner_api.get(url(device), {"format": format})

    assert answer.status_code == 200
    assert answer.getvalue() == export.HEADERS[format]


def test_readings_come_oldest_first_and_only_those_asked_for(device, owner_api):
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
def test_what_cannot_be_asked_for_is_422(device, owner_api, query, pointer):
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
def test_the_file_has_the_name_of_the_device_as_far_as_it_is_safe(owner, owner_api, name, header):
    answer = owner_api.get(url(DeviceFactory.create(user=owner, name=name)))

    assert answer["Content-Disposition"] == header
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert answer["Cache-Control"] == "no-store"
    answer.close()


def test_the_head_of_an_export_has_no_body(device, owner_api):
    answer = owner_api.send("HEAD", url(device))

    assert (answer.status_code, answer.getvalue()) == (200, b"")
    assert answer["Content-Type"] == "text/csv; charset=utf-8"


@pytest.fixture
def many(device):
    """More readings than are fetched at once."""
    batch = [
        make_reading(device, payload={"n": number}, recorded_at=NOW + number * SECOND)
        for number in range(2 * export.ROWS + 1)
    ]
    ingest.store(device, batch, now=NOW)
    return len(batch)


def sessions():
    """The process ids of the other connections that are in a transaction."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
            " AND backend_type = 'client backend' AND xact_start IS NOT NULL"
            " AND pid <> pg_backend_pid()"
        )
        return [pid for (pid,) in cursor.fetchall()]


def test_what_comes_while_it_is_read_is_not_in_it(device, many):
    pieces = export.readings(Selection(device), format="ndjson")
    first = next(pieces)
    store_reading(device, recorded_at=NOW - SECOND)
    store_reading(device, recorded_at=NOW + timedelta(hours=1))

    assert len((first + b"".join(pieces)).splitlines()) == many


def test_one_who_goes_away_leaves_nothing_behind(device, owner_api, many):
    answer = owner_api.get(url(device))
    next(iter(answer.streaming_content))
    assert len(sessions()) == 1

    answer.close()

    # The server takes a moment to see a connection end.
    assert any(not sessions() for _ in range(1000))
    store_reading(device, recorded_at=NOW - SECOND)
    assert len(owner_api.get(url(device)).getvalue().splitlines()) == many + 2


@pytest.mark.parametrize("format", FORMATS)
def test_an_export_that_breaks_off_says_so_in_its_last_line(
    device, owner_api, many, format, caplog
):
    answer = owner_api.get(url(device), {"format": format})
    pieces = iter(answer.streaming_content)
    content = next(pieces)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", sessions())
    with caplog.at_level(logging.CRITICAL):
        content += b"".join(pieces)

    assert b"broke off" in content.splitlines()[-1]
    tally = import_into(device, content)
    assert (tally.duplicates, tally.refused) == (export.ROWS, 1)


def test_an_export_that_cannot_begin_is_503(device, owner_api, monkeypatch):
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


@pytest.mark.parametrize("format", FORMATS)
def test_it_is_read_in_the_order_of_the_key_from_the_months_asked_for(device, format):
    others = DeviceFactory.create_batch(4)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO telemetry SELECT gen_random_uuid(), device, 'a', '{\"t\": 1}', at, at"
            " FROM unnest(%s::uuid[]) AS device,"
            " generate_series(%s::timestamptz, %s, interval '45 minutes') AS at",
            [
                [one.pk for one in [device, *others]],
                datetime(2025, 6, 1, tzinfo=UTC),
                datetime(2025, 9, 30, tzinfo=UTC),
            ],
        )
        cursor.execute("ANALYZE telemetry")
        selection = Selection(
            device, "a", datetime(2025, 6, 20, tzinfo=UTC), datetime(2025, 8, 2, tzinfo=UTC)
        )
        query, arguments = export._query(selection, export.LINES[format])
        cursor.execute(f"EXPLAIN DECLARE c CURSOR FOR {query}", arguments)
        plan = "\n".join(line for (line,) in cursor.fetchall())

    assert "Append" in plan
    assert "Merge Append" not in plan
    assert "Sort" not in plan
    assert "Seq Scan" not in plan
    months = {month for month in range(1, 13) if f"telemetry_2025_{month:02}" in plan}
    assert months == {6, 7, 8}


def test_neither_strangers_nor_devices_get_anything(device, stranger_api, many):
    assert stranger_api.get(url(device)).status_code == 404
    assert Api(device_token(device)).get(url(device)).status_code == 403


def test_an_export_is_imported_over_http(device, owner, many):
    api = Api(user_token(owner))
    before = stored(device)
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
        assert stored(device) == before


@pytest.mark.parametrize("resolution", ["hour", "day"])
def test_a_bucketed_export_has_what_the_charts_show(device, owner_api, resolution):
    payloads = [{"t": number, "text": "x"} for number in range(5)]
    store_readings(device, payloads=payloads, recorded_at=NOW - timedelta(days=60))
    store_readings(device, payloads=payloads, recorded_at=NOW - timedelta(minutes=61))
    rollups.drain()
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


def test_a_bucketed_export_needs_keys(device, owner_api):
    answer = owner_api.get(url(device), {"resolution": "day"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/key"


def test_a_second_export_at_once_is_told_to_wait_and_the_next_is_not(device, owner_api):
    store_readings(device, payloads=[{"t": 1}])
    first = owner_api.get(url(device))
    second = owner_api.get(url(device))
    assert (second.status_code, second["Retry-After"]) == (503, "10")
    assert first.getvalue() == owner_api.get(url(device)).getvalue()


def test_a_bucketed_export_is_to_be_had_by_lines_too(device, owner_api):
    store_readings(device, payloads=[{"t": 1}, {"t": 2}], recorded_at=NOW - timedelta(days=60))
    rollups.drain()
    asked = {"resolution": "day", "key": "environment.t", "format": "ndjson"}

    lines = owner_api.get(url(device), asked).getvalue().decode().splitlines()

    assert json.loads(lines[0]) == {
        "recorded_at": "2025-04-16T00:00:00.000000Z",
        "values": {"environment.t": {"avg": 1.5, "min": 1, "max": 2, "count": 2}},
    }
