"""A device that sends, and remembers when it was answered what."""

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Self

from resilience.site import TELEMETRY, Client

GOOD = {200, 201}


class Told(NamedTuple):
    """An answer, and when it was asked for."""

    began: float
    seconds: float
    status: int
    body: bytes


class Stream:
    """One device's readings, a millisecond apart, as fast as they are answered."""

    def __init__(
        self, port: int, token: str, *, kind: str, batch: int = 1, start: datetime | None = None
    ) -> None:
        self.client = Client(port, token)
        self.kind, self.batch = kind, batch
        self.start = start or datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
        self.told: list[Told] = []
        self.broken = 0
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._send, daemon=True)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self.thread.join(60)

    def since(self, instant: float) -> set[int]:
        """The statuses of what was asked for after this instant."""
        return {one.status for one in self.told if one.began > instant}

    def odd(self, *usual: int) -> list[str]:
        """What was answered beside 200, 201, 503 and these."""
        said = {
            f"{self.kind}: {one.status} {one.body[:100]!r}"
            for one in self.told
            if one.status not in {*GOOD, 503, *usual}
        }
        return sorted(said) + ([f"{self.kind}: {self.broken} not answered"] if self.broken else [])

    @property
    def slowest(self) -> float:
        return max(one.seconds for one in self.told)

    def wait_for(self, more: int, seconds: float = 20) -> None:
        """Until so many more are answered."""
        until, wanted = time.monotonic() + seconds, len(self.told) + more
        while len(self.told) < wanted and time.monotonic() < until:
            time.sleep(0.005)

    def _send(self) -> None:
        number = 0
        while not self.stopping.is_set():
            readings = [
                {
                    "telemetry_type": self.kind,
                    "payload": {"n": n, "batch": f"{self.start:%FT%T}, {number}"},
                    "recorded_at": f"{self.start + timedelta(milliseconds=n):%FT%T.%fZ}",
                }
                for n in range(number, number + self.batch)
            ]
            number += self.batch
            began = time.monotonic()
            try:
                answer = self.client.post(TELEMETRY, readings if self.batch > 1 else readings[0])
            except OSError:
                self.broken += 1
                continue
            self.told.append(Told(began, answer.seconds, answer.status, answer.body))
            if answer.status not in GOOD:
                # Who is refused does not come again at once.
                self.stopping.wait(0.02)
