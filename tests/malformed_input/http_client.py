"""Requests as bytes on a connection, to send requests that no HTTP library would send."""

import http.client
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Self

TIMEOUT_SECONDS = 120
"""Only a failing test waits this many seconds."""


@dataclass(frozen=True)
class Request:
    """A request. If `raw` is set, exactly these bytes are sent."""

    method: str
    target: bytes
    """The path and the query, as they are sent."""
    headers: dict[str, bytes] = field(default_factory=dict)
    body: bytes | None = None
    raw: bytes = b""

    def with_headers(self, **headers: bytes | str) -> Self:
        """Add headers; an underscore in a name stands for a hyphen."""
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
class Response:
    """A response; its status is 0 if the connection was closed without one."""

    status: int
    content_type: str = ""
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class PersistentConnection:
    """A connection that stays open as long as the site keeps it open."""

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

    def ask(self, request: Request, *, half: bool = False) -> Response:
        """Send a request and return the response. If `half`, the rest of the request is never
        sent.
        """
        was_open = self.socket is not None
        response = self._ask(request, half=half)
        if response.status == 0 and was_open:
            # The site had closed the idle connection.
            response = self._ask(request, half=half)
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while response.status == 503 and time.monotonic() < deadline:
            # All threads for passwords or files were busy; the request was not processed.
            time.sleep(float(response.headers.get("retry-after", 1)))
            response = self._ask(request, half=half)
        return response

    def _ask(self, request: Request, *, half: bool) -> Response:
        if self.socket is None:
            self.socket = socket.create_connection(
                ("localhost", self.port), timeout=TIMEOUT_SECONDS
            )
        try:
            self._send(request.bytes())
            if half:
                self.socket.shutdown(socket.SHUT_WR)
            got = http.client.HTTPResponse(self.socket, method=request.method)
            try:
                got.begin()
                body = got.read()
                headers: dict[str, Any] = {name.lower(): text for name, text in got.getheaders()}
                return Response(got.status, headers.get("content-type", ""), body, headers)
            finally:
                got.close()
                # After a malformed request the state of the connection is undefined.
                if got.will_close or request.raw or half:
                    self.close()
        except TimeoutError:
            self.close()
            raise
        except (http.client.HTTPException, OSError):
            self.close()
            return Response(0)

    def _send(self, raw: bytes) -> None:
        assert self.socket is not None
        # The server may close its side early; its response must still be read.
        with suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(raw)
