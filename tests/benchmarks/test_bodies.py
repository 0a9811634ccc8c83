import json
from datetime import UTC, datetime
from uuid import UUID

import pytest

from benchmarks import bodies
from telemetry.ingest import validation

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
DEVICES = [UUID(int=number) for number in range(3)]


def parsed(size: int, number: int) -> list[validation.ParsedReading]:
    found = []
    for batch in bodies.batches(size, number, devices=3, start=NOW):
        valid, rejected = validation.parse_all(
            json.loads(batch.body), device_id=DEVICES[batch.device], now=NOW
        )
        assert not rejected
        found += valid
    return found


@pytest.mark.parametrize("size", [1, 100, 1_000])
def test_all_readings_of_a_round_are_valid_and_different(size: int) -> None:
    assert len({reading.id for reading in parsed(size, 7)}) == 7 * size


def test_the_largest_batch_is_within_the_body_limit() -> None:
    (batch,) = bodies.batches(10_000, 1, devices=1, start=NOW)
    assert len(batch.body) <= 1024 * 1024


def test_the_rows_for_copy_are_the_posted_readings() -> None:
    rows = bodies.rows(100, 7, devices=DEVICES, start=NOW)
    assert [(UUID(bytes=row[0]), row[3]) for batch in rows for row in batch] == [
        (reading.id, reading.json) for reading in parsed(100, 7)
    ]


def test_the_influxdb_lines_have_the_same_values_and_times() -> None:
    (batch,) = bodies.batches(100, 1, devices=1, start=NOW)
    (lines,) = bodies.lines(100, 1, devices=DEVICES, start=NOW)
    told = []
    for line in lines.body.decode().splitlines():
        _, fields, milliseconds = line.split(" ")
        values = {
            name: float(value) for name, _, value in (f.partition("=") for f in fields.split(","))
        }
        told.append((values, int(milliseconds)))
    assert told == [
        (reading["payload"], datetime.fromisoformat(reading["recorded_at"]).timestamp() * 1000)
        for reading in json.loads(batch.body)
    ]
