"""Devices that wait for a command, each on a connection of its own, in one thread."""

import asyncio
import json
import resource
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import urlsplit

from benchmarks.client import Refused

WAIT = 30
"""Seconds that one poll waits; then it comes again."""
AT_ONCE = 64
"""Devices that connect at the same time."""
PATIENCE = 120.0
"""Seconds until all of them wait."""
PATH = "/api/v1/device/commands"


class Pollers(threading.Thread):
    """They begin to wait when the thread is started. `arrived` tells when each command came, by
    its id, on the clock of `time.perf_counter`.
    """

    def __init__(self, url: str, tokens: Sequence[str]) -> None:
        super().__init__(name="pollers", daemon=True)
        self.arrived: dict[str, float] = {}
        self.broken: list[str] = []
        self._address = urlsplit(url)
        self._tokens = tokens
        self._something = threading.Condition()
        self._begun = 0
        self._stopping = asyncio.Event()
        self._loop = asyncio.new_event_loop()

    def run(self) -> None:
        self._loop.run_until_complete(self._all())
        self._loop.close()

    def stop(self) -> None:
        """Hang up, all of them."""
        self._loop.call_soon_threadsafe(self._stopping.set)
        self.join()

    def all_wait(self) -> None:
        """Return once every one waits. Raises Refused."""
        with self._something:
            waiting = self._something.wait_for(
                lambda: self.broken or self._begun == len(self._tokens), PATIENCE
            )
        if not waiting or self.broken:
            raise Refused(f"{self._begun} devices wait; {self.broken[:1]}")

    def arrival(self, command: str) -> float:
        """When the command came; waits for it. Raises Refused."""
        with self._something:
            if not self._something.wait_for(lambda: command in self.arrived, 10):
                raise Refused("a command did not arrive")
        return self.arrived[command]

    async def _all(self) -> None:
        few = asyncio.Semaphore(AT_ONCE)
        waiting = [asyncio.create_task(self._one(token, few)) for token in self._tokens]
        await self._stopping.wait()
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    async def _one(self, token: str, few: asyncio.Semaphore) -> None:
        host, port = self._address.hostname, self._address.port
        try:
            async with few:
                reader, writer = await asyncio.open_connection(host, port, limit=2**16)
                # What it is answered at once tells that it is known, and the next poll waits.
                await self._poll(reader, writer, token, wait=0)
            try:
                with self._something:
                    self._begun += 1
                    self._something.notify_all()
                while True:
                    await self._poll(reader, writer, token, wait=WAIT)
            finally:
                writer.close()
        except (OSError, EOFError, Refused) as reason:
            with self._something:
                self.broken.append(repr(reason))
                self._something.notify_all()

    async def _poll(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str, *, wait: int
    ) -> None:
        writer.write(
            f"GET {PATH}?wait={wait} HTTP/1.1\r\nHost: {self._address.netloc}\r\n"
            f"Authorization: Bearer {token}\r\n\r\n".encode()
        )
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        came = time.perf_counter()
        if b" 204 " in head[:16]:
            return
        if b" 200 " not in head[:16]:
            raise Refused(head[:200].decode("latin-1"))
        length = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        body = json.loads(await reader.readexactly(length))
        with self._something:
            for command in body["results"]:
                self.arrived.setdefault(command["id"], came)
            self._something.notify_all()


@contextmanager
def waiting(url: str, tokens: Sequence[str]) -> Iterator[Pollers]:
    """All of them waiting, for as long as the block lasts. Raises Refused."""
    allow_connections(len(tokens) + 200)
    pollers = Pollers(url, tokens)
    pollers.start()
    try:
        pollers.all_wait()
        yield pollers
    finally:
        pollers.stop()


def allow_connections(number: int) -> None:
    """As many open files. Raises Refused where that is not allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < number:
        raise Refused(f"only {hard} open files are allowed: ulimit -Hn")
    if soft < number:
        resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))
