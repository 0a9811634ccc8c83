"""Readings as files, and their import."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from django.db import connection
from hypothesis import assume, given
from hypothesis import strategies as st

from telemetry.ingest import storage, validation
from telemetry.models import Telemetry
from telemetry.transfer import export
from telemetry.transfer.export import Selection
from tests.factories import NOW, DeviceFactory, UserFactory, store_reading, store_readings
from tests.telemetry.round_trip import FORMATS, import_into, stored_rows

# An export uses its own connection and reads committed rows only.
pytestmark = pytest.mark.django_db(transaction=True)


def exported(selection, format):
    return b"".join(export.export_readings(selection, format=format))


def table(selection, *keys):
    """Return the CSV rows with these columns, as Python parses them."""
    text = b"".join(export.export_table(selection, keys=keys)).decode()
    return list(csv.reader(io.StringIO(text, newline=""), strict=True))


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
def test_an_exported_file_imports_as_the_same_readings(sent, format):
    user = UserFactory.create(
        username=f"traveller{next(names)}", email=f"{next(names)}@example.org"
    )
    device = DeviceFactory.create(user=user)
    valid, rejected = validation.parse_all(sent, device_id=device.pk, now=NOW)
    assume(not rejected)
    storage.store(device, valid, now=NOW)
    before = stored_rows(device)
    file = exported(Selection(device), format)

    again = import_into(device, file)
    assert (again.accepted, again.duplicates, again.rejected) == (0, len(before), 0)

    Telemetry.objects.filter(device=device).delete()
    result = import_into(device, file)
    assert (result.accepted, result.duplicates, result.rejected) == (len(before), 0, 0)
    assert stored_rows(device) == before


def test_a_line_of_exported_ndjson_is_accepted_by_ingest(device, owner_api):
    reading = store_reading(device, payload={"t": -1.5, "gps": {"lat": 50.4}, "text": '\\n\n"ü€'})

    (line,) = exported(Selection(device), "ndjson").splitlines()

    answer = owner_api.post(f"/api/v1/devices/{device.pk}/telemetry", line)
    assert (answer.status_code, answer.json()["id"]) == (200, str(reading.pk))


def test_a_row_of_exported_csv_has_time_type_and_payload_as_json(device):
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


def test_cells_that_look_like_formulas_are_escaped(device):
    store_readings(device, payloads=[{"a": value} for value, _ in CELLS])

    rows = table(Selection(device), "environment.a")

    assert [row[1] for row in rows] == ["environment.a", *(cell for _, cell in CELLS)]


def test_a_key_that_begins_with_a_minus_is_escaped(device):
    store_reading(device, telemetry_type="-a", payload={"b": 5})

    assert [row[1] for row in table(Selection(device), "-a.b")] == ["'-a.b", "5"]


def test_each_key_is_a_column_and_readings_without_any_key_are_left_out(device):
    payloads = [{"t": 1, "h": 5}, {"other": 1}, {"h": 6}]
    store_readings(device, payloads=payloads)
    store_reading(
        device, recorded_at=NOW + timedelta(seconds=3), telemetry_type="power", payload={"t": 9}
    )

    rows = table(Selection(device), "environment.h", "power.t", "environment.t")

    assert [row[1:] for row in rows[1:]] == [["5", "", "1"], ["6", "", ""], ["", "9", ""]]


def test_a_key_is_looked_up_as_a_whole_name_and_then_as_a_path(device):
    payloads = [{"a.b": 1, "a": {"b": 2}}, {"a": {"b": 3}}, {"a": [4, 5]}]
    store_readings(device, payloads=payloads)

    rows = table(Selection(device), "environment.a.b", "environment.a.1")

    assert [row[1:] for row in rows[1:]] == [["1", ""], ["3", ""], ["", "5"]]


@pytest.mark.django_db
def test_buckets_have_four_columns_per_key():
    begins = int(NOW.timestamp())
    pieces = [
        ([begins], {"a.b": [[1.5], [-2], [5.0], [3]], "-a.c": [[None], [None], [None], [0]]}),
        ([], {"a.b": [[], [], [], []], "-a.c": [[], [], [], []]}),
        ([begins + 3600], {"a.b": [[1], [1], [1], [1]], "-a.c": [[0.1], [0.1], [0.1], [2]]}),
    ]

    lines = b"".join(export._to_csv(pieces, keys=["a.b", "-a.c"])).decode().splitlines()

    names = "a.b avg,a.b min,a.b max,a.b count,'-a.c avg,'-a.c min,'-a.c max,'-a.c count"
    assert lines == [
        f"recorded_at,{names}",
        "2025-06-15T12:00:00.000000Z,1.5,-2,5.0,3,,,,0",
        "2025-06-15T13:00:00.000000Z,1,1,1,1,0.1,0.1,0.1,2",
    ]


@pytest.mark.parametrize("format", FORMATS)
def test_an_export_reads_the_requested_months_in_the_order_of_the_primary_key(device, format):
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
        query, arguments = export._query(selection, export.LINE_SQL[format])
        cursor.execute(f"EXPLAIN DECLARE c CURSOR FOR {query}", arguments)
        plan = "\n".join(line for (line,) in cursor.fetchall())

    assert "Append" in plan
    assert "Merge Append" not in plan
    assert "Sort" not in plan
    assert "Seq Scan" not in plan
    months = {month for month in range(1, 13) if f"telemetry_2025_{month:02}" in plan}
    assert months == {6, 7, 8}
