"""Requests as bytes on a connection, so that also those can be sent that no library would."""

import http.client
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Self

PATIENCE = 120
"""Seconds that only a failure waits for."""


@dataclass(frozen=True)
class Request:
    """What is sent. With `raw`, that and nothing else."""

    method: str
    target: bytes
    """The path and the query, as they go out."""
    headers: dict[str, bytes] = field(default_factory=dict)
    body: bytes | None = None
    raw: bytes = b""

    def with_headers(self, **headers: bytes | str) -> Self:
        """Underscores stand for hyphens."""
        given = {
            name.replace("_", "-"): value.encode() if isinstance(value, str) else value
            for name, value in headers.items()
        }
        return replace(self, headers={**self.headers, **given})

    def without(self, name: str) -> Self:
        return replace(self, headers={k: v for k, v in self.headers.items() if k != name})

    def with_body(self, body: bytes) -> Self:
        return replace(self, body=body)

    def bytes(self) -> bytes:
        if self.raw:
            return self.raw
        headers = {"Host": b"localhost", **self.headers}
        if self.body is not None and "Transfer-Encoding" not in headers:
            headers.setdefault("Content-Length", b"%d" % len(self.body))
        lines = [b"%b %b HTTP/1.1" % (self.method.encode(), self.target)]
        lines += [b"%b: %b" % (name.encode(), value) for name, value in headers.items()]
        return b"\r\n".join([*lines, b"", self.body or b""])


@dataclass(frozen=True)
class Answer:
    """What came back; a status of 0 when the connection was closed without a word."""

    status: int
    content_type: str = ""
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class Line:
    """A connection that is kept as long as the site keeps it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.socket: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self.socket is not None:
            self.socket.close()
            self.socket = None

    def ask(self, request: Request, *, half: bool = False) -> Answer:
        """Of a request that is not one, or, if `half`, whose rest never comes."""
        was_open = self.socket is not None
        answer = self._ask(request, half=half)
        if answer.status == 0 and was_open:
            # The site had closed it before.
            answer = self._ask(request, half=half)
        deadline = time.monotonic() + PATIENCE
        while answer.status == 503 and time.monotonic() < deadline:
            # All threads for passwords or files were busy: nothing has been looked at.
            time.sleep(float(answer.headers.get("retry-after", 1)))
            answer = self._ask(request, half=half)
        return answer

    def _ask(self, request: Request, *, half: bool) -> Answer:
        if self.socket is None:
            self.socket = socket.create_connection(("localhost", self.port), timeout=PATIENCE)
        try:
            self._send(request.bytes())
            if half:
                self.socket.shutdown(socket.SHUT_WR)
            got = http.client.HTTPResponse(self.socket, method=request.method)
            try:
                got.begin()
                body = got.read()
                headers: dict[str, Any] = {name.lower(): text for name, text in got.getheaders()}
                return Answer(got.status, headers.get("content-type", ""), body, headers)
            finally:
                got.close()
                # What follows a request that was malformed is anybody's guess.
                if got.will_close or request.raw or half:
                    self.close()
        except TimeoutError:
            self.close()
            raise
        except (http.client.HTTPException, OSError):
            self.close()
            return Answer(0)

    def _send(self, raw: bytes) -> None:
        assert self.socket is not None
        # When it has heard enough, what it has to say is still to be read.
        with suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(raw)
