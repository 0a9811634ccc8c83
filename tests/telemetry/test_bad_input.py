"""The catalogue of bad_input.py through every entry point: it is rejected with a pointer for each
error, and nothing is stored.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from django.http import HttpResponse

from devices.models import Device
from telemetry.models import Telemetry
from tests.conftest import Api
from tests.telemetry import bad_input
from tests.telemetry.bad_input import ANOTHER, GOOD, Body, Case, Request, Row
from tests.telemetry.import_runs import Run, write

pytestmark = pytest.mark.unmeasured

JSON, LINES = "application/json", "application/x-ndjson"
OWN, FULL = "/api/v1/device/telemetry", "/api/v1/devices/{}/telemetry"


class EntryPoint(NamedTuple):
    """How readings are sent: the sender, the path, and the function that builds the body."""

    sender: str
    path: str
    wrap: Callable[[list[bytes]], bytes]
    at: str
    """The pointer of the first reading."""
    content_type: str = JSON
    encoding: str = ""

    def send(self, apis: dict[str, Api], device: Device, *texts: str | bytes) -> HttpResponse:
        raw = self.wrap([text.encode() if isinstance(text, str) else text for text in texts])
        return apis[self.sender].post(
            self.path.format(device.pk),
            bad_input.gzip(raw) if self.encoding else raw,
            content_type=self.content_type,
            headers={"Content-Encoding": self.encoding} if self.encoding else None,
        )


def single(texts: list[bytes]) -> bytes:
    (text,) = texts
    return text


def array(texts: list[bytes]) -> bytes:
    return b"[%b]" % b",".join(texts)


def readings(texts: list[bytes]) -> bytes:
    return b'{"readings": [%b]}' % b", ".join(texts)


ONE = [
    EntryPoint("device", OWN, single, ""),
    EntryPoint("owner", FULL, single, "", encoding="gzip"),
]
MANY = [
    EntryPoint("device", OWN, array, "/0"),
    EntryPoint("owner", FULL, readings, "/readings/0", encoding="gzip"),
]
BY_LINES = [EntryPoint("device", FULL, b"\n".join, "/0", LINES)]


IMPORT = "/api/v1/devices/{}/telemetry/import"


def parametrize_cases(cases: list[Any]) -> Any:
    return pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in cases])


@pytest.fixture
def apis(device_api: Api, owner_api: Api) -> dict[str, Api]:
    for api in (device_api, owner_api):
        api.client.raise_request_exception = False
    return {"device": device_api, "owner": owner_api}


def assert_rejected(answer: HttpResponse, way: object, status: int = 422) -> list[tuple[str, str]]:
    """Return the pointers and codes of the errors; check that nothing is stored."""
    assert answer.status_code == status, (way, answer.content)
    assert answer["Content-Type"] == "application/problem+json"
    assert not Telemetry.objects.exists(), way
    told = answer.json()
    assert told["status"] == status
    return pointers_and_codes(told.get("errors", []))


def pointers_and_codes(faults: list[dict[str, str]]) -> list[tuple[str, str]]:
    return [(fault["pointer"], fault["code"]) for fault in faults]


def assert_one_rejected(answer: HttpResponse, way: EntryPoint) -> list[tuple[str, str]]:
    """Return the pointers and codes of the middle reading; check that the two valid ones are
    stored.
    """
    assert answer.status_code == 201, (way, answer.content)
    told = answer.json()
    assert (told["accepted"], told["duplicates"]) == (2, 0), way
    assert {fault["index"] for fault in told["rejected"]} == {1}, way
    # Delete them, so that the next entry point starts with an empty table.
    assert Telemetry.objects.all().delete()[0] == 2, way
    return pointers_and_codes(told["rejected"])


def test_the_valid_readings_of_the_catalogue_are_accepted(
    device: Device, apis: dict[str, Api]
) -> None:
    for way in (*ONE, *MANY, *BY_LINES):
        for text in (GOOD, ANOTHER):
            assert way.send(apis, device, text).status_code in (200, 201), way
    assert Telemetry.objects.count() == 2


@parametrize_cases(bad_input.READINGS)
def test_an_invalid_reading_is_rejected_with_a_pointer_and_the_others_are_stored(
    device: Device, apis: dict[str, Api], case: Case
) -> None:
    for way in (*ONE, *MANY, *BY_LINES):
        found = assert_rejected(way.send(apis, device, case.text), way)
        assert (way.at + case.pointer, case.code) in found, way
    for way in (*MANY, *BY_LINES):
        found = assert_one_rejected(way.send(apis, device, GOOD, case.text, ANOTHER), way)
        assert (way.at.replace("0", "1") + case.pointer, case.code) in found, way
    # Again, when the token of the device is cached.
    assert (case.pointer, case.code) in assert_rejected(
        ONE[0].send(apis, device, case.text), ONE[0]
    )


@parametrize_cases(bad_input.NOT_JSON)
def test_a_line_that_is_not_json_is_rejected_and_the_others_are_stored(
    device: Device, apis: dict[str, Api], case: Body
) -> None:
    for way in BY_LINES:
        assert assert_rejected(way.send(apis, device, case.raw), way) == [("/0", "not-json")]
        found = assert_one_rejected(way.send(apis, device, GOOD, case.raw, ANOTHER), way)
        assert found == [("/1", "not-json")]


@parametrize_cases(bad_input.BODIES)
def test_an_invalid_body_is_rejected_with_the_position_of_its_error(
    device: Device, apis: dict[str, Api], case: Body
) -> None:
    for way in (*ONE, ONE[0]):
        answer = way.send(apis, device, case.raw)
        assert_rejected(answer, way, case.status)
        assert case.word in answer.content.decode(), way


@parametrize_cases(bad_input.REQUESTS)
def test_a_malformed_request_is_rejected(
    device: Device, apis: dict[str, Api], case: Request
) -> None:
    for sender, path in (("device", OWN), ("owner", FULL)):
        answer = apis[sender].post(
            path.format(device.pk),
            case.raw,
            content_type=case.headers.get("Content-Type", JSON),
            headers={name: value for name, value in case.headers.items() if name != "Content-Type"},
        )
        assert_rejected(answer, sender, case.status)


@parametrize_cases(bad_input.ROWS)
def test_an_invalid_row_of_a_file_is_rejected_and_the_others_are_stored(
    device: Device, tmp_path: Path, case: Row
) -> None:
    file = write(tmp_path, bad_input.table(case.text))
    run = Run(file, device=str(device.pk))
    assert run.error.startswith("Not imported in full")
    assert "rejected line 3: " in run.out
    assert case.pointer.removeprefix("/") in run.out
    assert Telemetry.objects.count() == 2


def assert_one_line_rejected(answer: HttpResponse, line: int) -> list[tuple[str, str]]:
    """Return the pointers and codes of one line of an imported file; check that the two others are
    stored.
    """
    assert answer.status_code == 200, answer.content
    told = answer.json()
    assert (told["accepted"], told["duplicates"], told["rejected_count"]) == (2, 0, 1)
    assert {fault["line"] for fault in told["rejected"]} == {line}
    assert Telemetry.objects.count() == 2
    return pointers_and_codes(told["rejected"])


@parametrize_cases(bad_input.READINGS)
def test_an_invalid_line_of_an_imported_file_is_rejected_and_the_others_are_stored(
    device: Device, apis: dict[str, Api], case: Case
) -> None:
    way = EntryPoint("owner", IMPORT, b"\n".join, "/1", LINES)
    assert (way.at + case.pointer, case.code) in assert_rejected(
        way.send(apis, device, case.text), way
    )
    found = assert_one_line_rejected(way.send(apis, device, GOOD, case.text, ANOTHER), line=2)
    assert (case.pointer, case.code) in found


# A file may begin with a byte order mark.
@parametrize_cases([case for case in bad_input.NOT_JSON if case.name != "a byte order mark"])
def test_a_line_of_an_imported_file_that_is_not_json_is_rejected_and_the_others_are_stored(
    device: Device, apis: dict[str, Api], case: Body
) -> None:
    way = EntryPoint("owner", IMPORT, b"\n".join, "/1", LINES)
    assert_rejected(way.send(apis, device, case.raw), way)
    assert_one_line_rejected(way.send(apis, device, GOOD, case.raw, ANOTHER), line=2)


@parametrize_cases(bad_input.ROWS)
def test_an_invalid_row_of_an_imported_table_is_rejected_and_the_others_are_stored(
    device: Device, apis: dict[str, Api], case: Row
) -> None:
    way = EntryPoint("owner", IMPORT, single, "", "text/csv")
    found = assert_one_line_rejected(way.send(apis, device, bad_input.table(case.text)), line=3)
    assert any(pointer.startswith(case.pointer) for pointer, _ in found)
