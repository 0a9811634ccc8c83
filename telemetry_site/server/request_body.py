"""Request bodies, received on the event loop before a thread processes the request."""

import asyncio
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from tempfile import SpooledTemporaryFile
from typing import IO, Any

from django.conf import settings
from granian.rsgi import HTTPProtocol

from telemetry_site.server.environ import Environ

MAX_IN_MEMORY_BYTES = 1024 * 1024
"""Bytes of one body that are held in memory; a larger one goes to a temporary file."""
CLIENT_DIVISOR, UNKNOWN_CLIENT_DIVISOR = 2, 8
"""A user or device may use 1/2 of the budget, an IP address 1/8. Each may always send one body."""
SECONDS = 10.0
"""Seconds that a body may take, in addition to those for its length."""
BYTES_PER_SECOND = 16 * 1024
"""Minimum speed of a body after SECONDS; a slower one is rejected."""
MAX_CHUNKS, BYTES_PER_CHUNK = 1000, 16
"""Chunks that a body may have: MAX_CHUNKS, and one more per BYTES_PER_CHUNK. Each chunk costs the
event loop as much as a whole request.
"""


class BodyTooSlow(Exception):
    """The body did not arrive in time."""


class TooManyChunks(Exception):
    """The chunks of the body have only a few bytes."""


class TooManyBodies(Exception):
    """The bodies in progress use all of the budget, or all of the client's part."""


class BodyBudget:
    """Limits the bytes of the bodies that are received at a time."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.reserved = 0
        self.reserved_by: Counter[Hashable] = Counter()

    @contextmanager
    def reserve(self, length: int, client: Hashable) -> Iterator[None]:
        """Reserve the bytes of a body until the response to its request is complete.

        Raises TooManyBodies.
        """
        used = self.reserved_by[client]
        part = self.size // (UNKNOWN_CLIENT_DIVISOR if isinstance(client, str) else CLIENT_DIVISOR)
        if self.reserved + length > self.size or (used and used + length > part):
            raise TooManyBodies
        self.reserved += length
        self.reserved_by[client] += length
        try:
            yield
        finally:
            self.reserved -= length
            self.reserved_by[client] -= length
            if not self.reserved_by[client]:
                del self.reserved_by[client]


def bytes_to_receive(environ: Environ, limit: int) -> int:
    """Return how many bytes to receive: 0 without a body, or if the body must not be received.

    For a chunked body this is the limit and one more byte, so that the view detects a body that is
    too long. The middleware rejects these without their body: chunks outside the API, other
    encodings, and a Content-Length that is no number or over the limit.
    """
    if "HTTP_TRANSFER_ENCODING" in environ:
        return limit + 1 if takes_chunks(environ) else 0
    text = environ.get("CONTENT_LENGTH") or "0"
    if not (text.isascii() and text.isdecimal()) or len(text) > len(str(limit)):
        return 0
    length = int(text)
    return length if length <= limit else 0


def takes_chunks(environ: Mapping[str, Any]) -> bool:
    """Return whether a body with a Transfer-Encoding is received for this request."""
    encoding: str = environ["HTTP_TRANSFER_ENCODING"]
    path: str = environ["PATH_INFO"]
    return encoding.lower() == "chunked" and path.startswith("/api/")


async def receive(protocol: HTTPProtocol, length: int, *, chunked: bool) -> IO[bytes]:
    """Return the body, at most `length` bytes of it.

    Raises BodyTooSlow or TooManyChunks, or ProtocolClosed if the client disconnects before its end.
    """
    try:
        if not chunked and length <= MAX_IN_MEMORY_BYTES:
            async with asyncio.timeout(SECONDS + length / BYTES_PER_SECOND):
                return BytesIO(await protocol())
        async with asyncio.timeout(SECONDS) as limit:
            return await _receive_chunks(protocol, length, limit)
    except TimeoutError:
        raise BodyTooSlow from None


async def _receive_chunks(protocol: HTTPProtocol, length: int, limit: asyncio.Timeout) -> IO[bytes]:
    first = limit.when() or 0.0
    file = SpooledTemporaryFile(MAX_IN_MEMORY_BYTES, dir=str(settings.TRANSFERS))  # noqa: SIM115 - returned open
    try:
        chunks = 0
        async for chunk in protocol:
            chunks += 1
            if chunks > MAX_CHUNKS + file.tell() / BYTES_PER_CHUNK:
                raise TooManyChunks
            file.write(chunk[: length - file.tell()])
            limit.reschedule(first + file.tell() / BYTES_PER_SECOND)
            if file.tell() >= length:
                break
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return file
