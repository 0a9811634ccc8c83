"""Every way to have a JSON object of one's own stored through the API, and to read it back."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from gzip import compress
from itertools import count
from typing import Any, NamedTuple, Protocol

from tests.malformed_input.free_json import Room, Sent, is_fit, is_same

OWN = "/api/v1/device/telemetry"
OTHER = b'{"telemetry_type":"other","payload":{"n":%d},"recorded_at":"%b"}'
BEGIN = datetime(2025, 6, 1, tzinfo=UTC)
numbers = count()


class Answer(NamedTuple):
    status: int
    told: Any
    """The JSON in it."""


class Speaker(Protocol):
    """How an owner and their device speak to a site, and how its database is looked into."""

    device_id: str

    def ask(
        self, who: str, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> Answer:
        """As "owner" or "device"."""

    def rows(self, table: str) -> int: ...


class Way(NamedTuple):
    name: str
    try_it: Callable[[Speaker, Sent], None]


def check(sent: Sent, room: Room, answer: Answer, *, accepted: bool) -> None:
    """Accepted is what fits, and nothing else; what does not is refused with a reason."""
    fit = is_fit(sent.value, room)
    assert fit is None or fit == accepted, (fit, answer)
    if not accepted:
        assert answer.status == 422, answer
        assert answer.told["errors"], answer


def _reading(sent: Sent) -> tuple[bytes, bytes]:
    """One with this payload, and another that is good, both at a time of their own."""
    number = next(numbers)
    time = (BEGIN + timedelta(seconds=number)).isoformat().replace("+00:00", "Z").encode()
    one = b'{"telemetry_type":"any","payload":%b,"recorded_at":"%b"}' % (sent.text, time)
    return one, OTHER % (number, time)


def _alone(speaker: Speaker, sent: Sent, *, encoding: str = "") -> None:
    before = speaker.rows("telemetry")
    body, _ = _reading(sent)
    headers = {"Content-Encoding": encoding} if encoding else {}
    answer = speaker.ask("device", "POST", OWN, compress(body) if encoding else body, **headers)
    accepted = answer.status == 201
    check(sent, Room(may_be_empty=False), answer, accepted=accepted)
    assert speaker.rows("telemetry") == before + accepted
    if accepted:
        _read_back(speaker, answer.told["id"], sent)


def _together(speaker: Speaker, sent: Sent, *, is_array: bool) -> None:
    """Between two good ones, which are stored whatever becomes of it."""
    before = speaker.rows("telemetry")
    (one, other), (_, another) = _reading(sent), _reading(sent)
    path = f"/api/v1/devices/{speaker.device_id}/telemetry"
    if is_array:
        body = b"[%b,%b,%b]" % (other, one, another)
        answer = speaker.ask("owner", "POST", path, body)
    else:
        body = b"\n".join([other, one, another])
        lines = {"Content-Type": "application/x-ndjson"}
        answer = speaker.ask("owner", "POST", path, body, **lines)
    assert answer.status == 201, answer
    accepted = answer.told["accepted"] == 3
    assert accepted or {fault["index"] for fault in answer.told["rejected"]} == {1}, answer
    fit = is_fit(sent.value, Room(may_be_empty=False))
    assert fit is None or fit == accepted, (fit, answer)
    assert speaker.rows("telemetry") == before + 2 + accepted
    if accepted:
        page = speaker.ask("owner", "GET", f"{path}?telemetry_type=any&limit=1").told
        _same(page["results"][0]["payload"], sent)


def _command(speaker: Speaker, sent: Sent) -> None:
    """As its payload; the device answers it, so that the next one finds room."""
    before = speaker.rows("commands")
    path = f"/api/v1/devices/{speaker.device_id}/commands"
    answer = speaker.ask("owner", "POST", path, b'{"command_name":"x","payload":%b}' % sent.text)
    accepted = answer.status == 201
    check(sent, Room(levels=1, leaves=1), answer, accepted=accepted)
    assert speaker.rows("commands") == before + accepted
    if accepted:
        path = f"{path}/{answer.told['id']}"
        _same(speaker.ask("owner", "GET", path).told["payload"], sent)
        (fetched,) = speaker.ask("device", "GET", "/api/v1/device/commands").told["results"]
        _same(fetched["payload"], sent)
        speaker.ask("device", "PATCH", path, b'{"status":"executed"}')


def _result(speaker: Speaker, sent: Sent) -> None:
    path = f"/api/v1/devices/{speaker.device_id}/commands"
    path += "/" + speaker.ask("owner", "POST", path, b'{"command_name":"x"}').told["id"]
    body = b'{"status":"executed","result":%b}' % sent.text
    answer = speaker.ask("device", "PATCH", path, body)
    accepted = answer.status == 200
    stored = speaker.ask("owner", "GET", path).told
    if sent.value is None:
        assert accepted
    else:
        check(sent, Room(levels=1, leaves=1), answer, accepted=accepted)
    if accepted:
        _same(stored["result"], sent)
    else:
        assert (stored["status"], stored["result"]) == ("pending", None)
        speaker.ask("owner", "POST", f"{path}/cancel")


def _metadata(speaker: Speaker, sent: Sent) -> None:
    path = f"/api/v1/devices/{speaker.device_id}"
    before = speaker.ask("owner", "GET", path).told["metadata"]
    answer = speaker.ask("owner", "PATCH", path, b'{"metadata":%b}' % sent.text)
    accepted = answer.status == 200
    check(sent, Room(levels=1), answer, accepted=accepted)
    stored = speaker.ask("owner", "GET", path).told["metadata"]
    if accepted:
        _same(stored, sent)
    else:
        assert is_same(stored, before)


def _read_back(speaker: Speaker, reading_id: str, sent: Sent) -> None:
    path = f"/api/v1/devices/{speaker.device_id}/telemetry/{reading_id}"
    _same(speaker.ask("owner", "GET", path).told["payload"], sent)


def _same(stored: Any, sent: Sent) -> None:
    assert is_same(stored, sent.value), (json.dumps(stored), sent.text)


WAYS = [
    Way("a reading", _alone),
    Way("a reading as gzip", lambda speaker, sent: _alone(speaker, sent, encoding="gzip")),
    Way("an array", lambda speaker, sent: _together(speaker, sent, is_array=True)),
    Way("lines", lambda speaker, sent: _together(speaker, sent, is_array=False)),
    Way("a command", _command),
    Way("a result", _result),
    Way("metadata", _metadata),
]
