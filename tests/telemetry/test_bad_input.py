"""The catalogue of bad_input.py, through every way in: refused with the place of each fault, and
nothing of it stored.
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


class Way(NamedTuple):
    """How readings get in: who sends them where to, and what body is made of their JSON texts."""

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


def alone(texts: list[bytes]) -> bytes:
    (text,) = texts
    return text


def array(texts: list[bytes]) -> bytes:
    return b"[%b]" % b",".join(texts)


def readings(texts: list[bytes]) -> bytes:
    return b'{"readings": [%b]}' % b", ".join(texts)


ONE = [Way("device", OWN, alone, ""), Way("owner", FULL, alone, "", encoding="gzip")]
MANY = [
    Way("device", OWN, array, "/0"),
    Way("owner", FULL, readings, "/readings/0", encoding="gzip"),
]
BY_LINES = [Way("device", FULL, b"\n".join, "/0", LINES)]


IMPORT = "/api/v1/devices/{}/telemetry/import"


def each(cases: list[Any]) -> Any:
    return pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in cases])


@pytest.fixture
def apis(device_api: Api, owner_api: Api) -> dict[str, Api]:
    for api in (device_api, owner_api):
        api.client.raise_request_exception = False
    return {"device": device_api, "owner": owner_api}


def refused(answer: HttpResponse, way: object, status: int = 422) -> list[tuple[str, str]]:
    """The pointers and codes of a problem, after which nothing is stored."""
    assert answer.status_code == status, (way, answer.content)
    assert answer["Content-Type"] == "application/problem+json"
    assert not Telemetry.objects.exists(), way
    told = answer.json()
    assert told["status"] == status
    return places(told.get("errors", []))


def places(faults: list[dict[str, str]]) -> list[tuple[str, str]]:
    return [(fault["pointer"], fault["code"]) for fault in faults]


def listed(answer: HttpResponse, way: Way) -> list[tuple[str, str]]:
    """The pointers and codes of the one reading between two good ones, which are stored."""
    assert answer.status_code == 201, (way, answer.content)
    told = answer.json()
    assert (told["accepted"], told["duplicates"]) == (2, 0), way
    assert {fault["index"] for fault in told["rejected"]} == {1}, way
    # All of them, so that the next way finds none.
    assert Telemetry.objects.all().delete()[0] == 2, way
    return places(told["rejected"])


def test_what_the_bad_ones_are_sent_with_is_good(device: Device, apis: dict[str, Api]) -> None:
    for way in (*ONE, *MANY, *BY_LINES):
        for text in (GOOD, ANOTHER):
            assert way.send(apis, device, text).status_code in (200, 201), way
    assert Telemetry.objects.count() == 2


@each(bad_input.READINGS)
def test_a_bad_reading_is_refused_with_a_pointer_and_no_other(
    device: Device, apis: dict[str, Api], case: Case
) -> None:
    for way in (*ONE, *MANY, *BY_LINES):
        found = refused(way.send(apis, device, case.text), way)
        assert (way.at + case.pointer, case.code) in found, way
    for way in (*MANY, *BY_LINES):
        found = listed(way.send(apis, device, GOOD, case.text, ANOTHER), way)
        assert (way.at.replace("0", "1") + case.pointer, case.code) in found, way
    # Once more, by a device that is known by now.
    assert (case.pointer, case.code) in refused(ONE[0].send(apis, device, case.text), ONE[0])


@each(bad_input.NOT_JSON)
def test_a_line_that_is_no_json_is_refused_and_no_other(
    device: Device, apis: dict[str, Api], case: Body
) -> None:
    for way in BY_LINES:
        assert refused(way.send(apis, device, case.raw), way) == [("/0", "not-json")]
        found = listed(way.send(apis, device, GOOD, case.raw, ANOTHER), way)
        assert found == [("/1", "not-json")]


@each(bad_input.BODIES)
def test_a_bad_body_is_refused_with_the_place(
    device: Device, apis: dict[str, Api], case: Body
) -> None:
    for way in (*ONE, ONE[0]):
        answer = way.send(apis, device, case.raw)
        refused(answer, way, case.status)
        assert case.word in answer.content.decode(), way


@each(bad_input.REQUESTS)
def test_a_bad_request_is_refused(device: Device, apis: dict[str, Api], case: Request) -> None:
    for sender, path in (("device", OWN), ("owner", FULL)):
        answer = apis[sender].post(
            path.format(device.pk),
            case.raw,
            content_type=case.headers.get("Content-Type", JSON),
            headers={name: value for name, value in case.headers.items() if name != "Content-Type"},
        )
        refused(answer, sender, case.status)


@each(bad_input.ROWS)
def test_a_bad_row_of_a_file_is_refused_and_no_other(
    device: Device, tmp_path: Path, case: Row
) -> None:
    file = write(tmp_path, bad_input.table(case.text))
    run = Run(file, device=str(device.pk))
    assert run.error.startswith("Not imported in full")
    assert "refused line 3: " in run.out
    assert case.pointer.removeprefix("/") in run.out
    assert Telemetry.objects.count() == 2


def brought_in(answer: HttpResponse, line: int) -> list[tuple[str, str]]:
    """The pointers and codes of one line of an imported file; the two others are stored."""
    assert answer.status_code == 200, answer.content
    told = answer.json()
    assert (told["accepted"], told["duplicates"], told["rejected_count"]) == (2, 0, 1)
    assert {fault["line"] for fault in told["rejected"]} == {line}
    assert Telemetry.objects.count() == 2
    return places(told["rejected"])


@each(bad_input.READINGS)
def test_a_bad_line_of_an_imported_file_is_refused_and_no_other(
    device: Device, apis: dict[str, Api], case: Case
) -> None:
    way = Way("owner", IMPORT, b"\n".join, "/1", LINES)
    assert (way.at + case.pointer, case.code) in refused(way.send(apis, device, case.text), way)
    found = brought_in(way.send(apis, device, GOOD, case.text, ANOTHER), line=2)
    assert (case.pointer, case.code) in found


# A file may well begin with a byte order mark.
@each([case for case in bad_input.NOT_JSON if case.name != "a byte order mark"])
def test_a_line_of_an_imported_file_that_is_no_json_is_refused_and_no_other(
    device: Device, apis: dict[str, Api], case: Body
) -> None:
    way = Way("owner", IMPORT, b"\n".join, "/1", LINES)
    refused(way.send(apis, device, case.raw), way)
    brought_in(way.send(apis, device, GOOD, case.raw, ANOTHER), line=2)


@each(bad_input.ROWS)
def test_a_bad_row_of_an_imported_table_is_refused_and_no_other(
    device: Device, apis: dict[str, Api], case: Row
) -> None:
    way = Way("owner", IMPORT, alone, "", "text/csv")
    found = brought_in(way.send(apis, device, bad_input.table(case.text)), line=3)
    assert any(pointer.startswith(case.pointer) for pointer, _ in found)
