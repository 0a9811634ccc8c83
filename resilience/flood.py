"""A load generator that costs little: readings over many connections from one process.

`python -m resilience.flood FILE`, as the site goes on working in others. The file has a Flood as
JSON; the numbers of the readings that were acknowledged are written behind it, in FILE.out.
"""

import json
import selectors
import socket
import subprocess
import sys
import tempfile
import time
from array import array
from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.e2e.sites import ROOT

END_OF_HEAD = b"\r\n\r\n"
LAST_CHUNK = b"\r\n0\r\n\r\n"
PATIENCE = 30.0
"""Seconds that an answer may take before it counts as none."""


@dataclass
class Flood:
    """So many senders, each of which sends its next reading as soon as the last is answered; with
    `renewing` over a new connection. `first` is when the first reading was, in seconds (Unix); each
    is a millisecond later than the one before.
    """

    port: int
    tokens: list[str]
    senders: int
    seconds: float
    first: int
    renewing: bool = False

    def run(self) -> "Came":
        """In a process of its own."""
        with tempfile.TemporaryDirectory(prefix="fire-flood-") as folder:
            told = Path(folder) / "flood"
            told.write_text(json.dumps(asdict(self)))
            command = [sys.executable, "-m", "resilience.flood", str(told)]
            done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE)
            numbers = array("Q", told.with_suffix(".out").read_bytes())
        told_back = json.loads(done.stdout)
        statuses = Counter({int(status): n for status, n in told_back.pop("statuses").items()})
        return Came(statuses=statuses, acknowledged=set(numbers), **told_back)


@dataclass
class Came:
    """What came of it; `broken` is what got no whole answer, times are in seconds."""

    statuses: Counter[int]
    acknowledged: set[int]
    broken: int
    seconds: float
    median: float
    p99: float

    @property
    def per_second(self) -> float:
        return len(self.acknowledged) / self.seconds


@dataclass
class Sender:
    """One connection at a time."""

    token: bytes
    connection: socket.socket | None = None
    number: int = 0
    began: float = 0.0
    waiting: bytes = b""
    got: bytes = b""


@dataclass
class Flooding:
    """The work of the process."""

    flood: Flood
    selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    statuses: Counter[int] = field(default_factory=Counter)
    acknowledged: "array[int]" = field(default_factory=lambda: array("Q"))
    times: "array[float]" = field(default_factory=lambda: array("d"))
    broken: int = 0
    next: int = 0
    ending: bool = False

    def run(self) -> dict[str, Any]:
        flood = self.flood
        started = time.monotonic()
        for which in range(flood.senders):
            token = flood.tokens[which % len(flood.tokens)].encode()
            self._begin(Sender(token))
        until = started + flood.seconds
        while (now := time.monotonic()) < until:
            for key, events in self.selector.select(min(1.0, until - now)):
                self._go_on(key.data, events)
        took = time.monotonic() - started
        # What is under way is waited for, so that no connection is dropped.
        self.ending = True
        until = time.monotonic() + PATIENCE
        while self.selector.get_map() and time.monotonic() < until:
            for key, events in self.selector.select(1.0):
                self._go_on(key.data, events)
        self.broken += len(self.selector.get_map())
        times = sorted(self.times)
        return {
            "statuses": self.statuses,
            "broken": self.broken,
            "seconds": took,
            "median": times[len(times) // 2] if times else 0.0,
            "p99": times[len(times) * 99 // 100] if times else 0.0,
        }

    def _begin(self, sender: Sender) -> None:
        """The next reading."""
        sender.number, self.next = self.next, self.next + 1
        sender.waiting, sender.got = self._request(sender), b""
        sender.began = time.monotonic()
        if sender.connection is None:
            sender.connection = socket.socket()
            sender.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sender.connection.setblocking(False)
            sender.connection.connect_ex(("127.0.0.1", self.flood.port))
            self.selector.register(sender.connection, selectors.EVENT_WRITE, sender)
        else:
            self._send(sender)

    def _request(self, sender: Sender) -> bytes:
        at = datetime.fromtimestamp(self.flood.first + sender.number / 1000, UTC)
        body = b'{"telemetry_type":"flood","payload":{"n":%d},"recorded_at":"%b.%03dZ"}' % (
            sender.number,
            at.strftime("%Y-%m-%dT%H:%M:%S").encode(),
            sender.number % 1000,
        )
        return (
            b"POST /api/v1/device/telemetry HTTP/1.1\r\nHost: localhost\r\n"
            b"Authorization: Bearer %b\r\nContent-Type: application/json\r\n%b"
            b"Content-Length: %d\r\n\r\n%b"
        ) % (
            sender.token,
            b"Connection: close\r\n" if self.flood.renewing else b"",
            len(body),
            body,
        )

    def _send(self, sender: Sender) -> None:
        assert sender.connection is not None
        try:
            sender.connection.sendall(sender.waiting)
        except OSError:
            self._drop(sender)

    def _go_on(self, sender: Sender, events: int) -> None:
        assert sender.connection is not None
        if events & selectors.EVENT_WRITE:
            self.selector.modify(sender.connection, selectors.EVENT_READ, sender)
            self._send(sender)
            return
        try:
            got = sender.connection.recv(65536)
        except OSError:
            got = b""
        if not got:
            self._drop(sender)
            return
        sender.got += got
        if is_whole(sender.got):
            self._answered(sender)

    def _answered(self, sender: Sender) -> None:
        status = int(sender.got[9:12])
        self.statuses[status] += 1
        self.times.append(time.monotonic() - sender.began)
        if status in (200, 201) and not self.ending:
            self.acknowledged.append(sender.number)
        if self.flood.renewing or self.ending:
            self._close(sender)
        if not self.ending:
            self._begin(sender)

    def _drop(self, sender: Sender) -> None:
        self.broken += 1
        self._close(sender)
        if not self.ending:
            self._begin(sender)

    def _close(self, sender: Sender) -> None:
        if sender.connection is not None:
            self.selector.unregister(sender.connection)
            sender.connection.close()
            sender.connection = None


def is_whole(got: bytes) -> bool:
    """Whether an answer is there to its end."""
    head, _, body = got.partition(END_OF_HEAD)
    head = head.lower()
    if b"content-length:" in head:
        _, _, length = head.partition(b"content-length:")
        return len(body) >= int(length.split(b"\r\n", 1)[0])
    return got.endswith(LAST_CHUNK)


if __name__ == "__main__":
    told = Path(sys.argv[1])
    flooding = Flooding(Flood(**json.loads(told.read_text())))
    print(json.dumps(flooding.run()))
    told.with_suffix(".out").write_bytes(flooding.acknowledged.tobytes())
