"""Every way to store a JSON object through the API, and to read it back."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from gzip import compress
from itertools import count
from typing import Any, NamedTuple, Protocol

from tests.malformed_input.free_json import Sent, UsedLimits, is_same, is_valid

OWN_PATH = "/api/v1/device/telemetry"
OTHER_READING = b'{"telemetry_type":"other","payload":{"n":%d},"recorded_at":"%b"}'
BEGIN = datetime(2025, 6, 1, tzinfo=UTC)
numbers = count()


class Response(NamedTuple):
    status: int
    data: Any
    """The decoded JSON of the response."""


class Sender(Protocol):
    """Sends requests of an owner and of their device, and counts rows in the database."""

    device_id: str

    def ask(
        self, who: str, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> Response:
        """Send a request as "owner" or "device"."""

    def rows(self, table: str) -> int: ...


class EntryPoint(NamedTuple):
    name: str
    try_it: Callable[[Sender, Sent], None]


def check(sent: Sent, used: UsedLimits, response: Response, *, accepted: bool) -> None:
    """Check that a storable value is accepted and any other is rejected with errors."""
    fit = is_valid(sent.value, used)
    assert fit is None or fit == accepted, (fit, response)
    if not accepted:
        assert response.status == 422, response
        assert response.data["errors"], response


def _reading(sent: Sent) -> tuple[bytes, bytes]:
    """Return a reading with this payload and a valid one, each with a unique time."""
    number = next(numbers)
    time = (BEGIN + timedelta(seconds=number)).isoformat().replace("+00:00", "Z").encode()
    one = b'{"telemetry_type":"any","payload":%b,"recorded_at":"%b"}' % (sent.text, time)
    return one, OTHER_READING % (number, time)


def _alone(sender: Sender, sent: Sent, *, encoding: str = "") -> None:
    before = sender.rows("telemetry")
    body, _ = _reading(sent)
    headers = {"Content-Encoding": encoding} if encoding else {}
    response = sender.ask(
        "device", "POST", OWN_PATH, compress(body) if encoding else body, **headers
    )
    accepted = response.status == 201
    check(sent, UsedLimits(may_be_empty=False), response, accepted=accepted)
    assert sender.rows("telemetry") == before + accepted
    if accepted:
        _read_back(sender, response.data["id"], sent)


def _together(sender: Sender, sent: Sent, *, is_array: bool) -> None:
    """Send it between two valid readings, which are stored in any case."""
    before = sender.rows("telemetry")
    (one, other), (_, another) = _reading(sent), _reading(sent)
    path = f"/api/v1/devices/{sender.device_id}/telemetry"
    if is_array:
        body = b"[%b,%b,%b]" % (other, one, another)
        response = sender.ask("owner", "POST", path, body)
    else:
        body = b"\n".join([other, one, another])
        lines = {"Content-Type": "application/x-ndjson"}
        response = sender.ask("owner", "POST", path, body, **lines)
    assert response.status == 201, response
    accepted = response.data["accepted"] == 3
    assert accepted or {fault["index"] for fault in response.data["rejected"]} == {1}, response
    fit = is_valid(sent.value, UsedLimits(may_be_empty=False))
    assert fit is None or fit == accepted, (fit, response)
    assert sender.rows("telemetry") == before + 2 + accepted
    if accepted:
        page = sender.ask("owner", "GET", f"{path}?telemetry_type=any&limit=1").data
        _same(page["results"][0]["payload"], sent)


def _command(sender: Sender, sent: Sent) -> None:
    """Send it as a command's payload; the device reports the result, so that the queue stays
    short.
    """
    before = sender.rows("commands")
    path = f"/api/v1/devices/{sender.device_id}/commands"
    response = sender.ask("owner", "POST", path, b'{"command_name":"x","payload":%b}' % sent.text)
    accepted = response.status == 201
    check(sent, UsedLimits(levels=1, leaves=1), response, accepted=accepted)
    assert sender.rows("commands") == before + accepted
    if accepted:
        path = f"{path}/{response.data['id']}"
        _same(sender.ask("owner", "GET", path).data["payload"], sent)
        (fetched,) = sender.ask("device", "GET", "/api/v1/device/commands").data["results"]
        _same(fetched["payload"], sent)
        sender.ask("device", "PATCH", path, b'{"status":"executed"}')


def _result(sender: Sender, sent: Sent) -> None:
    path = f"/api/v1/devices/{sender.device_id}/commands"
    path += "/" + sender.ask("owner", "POST", path, b'{"command_name":"x"}').data["id"]
    body = b'{"status":"executed","result":%b}' % sent.text
    response = sender.ask("device", "PATCH", path, body)
    accepted = response.status == 200
    stored = sender.ask("owner", "GET", path).data
    if sent.value is None:
        assert accepted
    else:
        check(sent, UsedLimits(levels=1, leaves=1), response, accepted=accepted)
    if accepted:
        _same(stored["result"], sent)
    else:
        assert (stored["status"], stored["result"]) == ("pending", None)
        sender.ask("owner", "POST", f"{path}/cancel")


def _metadata(sender: Sender, sent: Sent) -> None:
    path = f"/api/v1/devices/{sender.device_id}"
    before = sender.ask("owner", "GET", path).data["metadata"]
    response = sender.ask("owner", "PATCH", path, b'{"metadata":%b}' % sent.text)
    accepted = response.status == 200
    check(sent, UsedLimits(levels=1), response, accepted=accepted)
    stored = sender.ask("owner", "GET", path).data["metadata"]
    if accepted:
        _same(stored, sent)
    else:
        assert is_same(stored, before)


def _read_back(sender: Sender, reading_id: str, sent: Sent) -> None:
    path = f"/api/v1/devices/{sender.device_id}/telemetry/{reading_id}"
    _same(sender.ask("owner", "GET", path).data["payload"], sent)


def _same(stored: Any, sent: Sent) -> None:
    assert is_same(stored, sent.value), (json.dumps(stored), sent.text)


ENTRY_POINTS = [
    EntryPoint("a reading", _alone),
    EntryPoint("a reading as gzip", lambda sender, sent: _alone(sender, sent, encoding="gzip")),
    EntryPoint("an array", lambda sender, sent: _together(sender, sent, is_array=True)),
    EntryPoint("lines", lambda sender, sent: _together(sender, sent, is_array=False)),
    EntryPoint("a command", _command),
    EntryPoint("a result", _result),
    EntryPoint("metadata", _metadata),
]
