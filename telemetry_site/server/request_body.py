"""Request bodies, received on the event loop before a thread works on the request."""

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

IN_MEMORY = 1024 * 1024
"""Bytes of one body that are kept in memory; more go to a temporary file."""
PART, PART_OF_UNKNOWN = 2, 8
"""A user or device may have half of the room; an address, whoever sends from there, an eighth, and
one body.
"""
SECONDS = 10.0
"""Seconds that a body may take, beside those of its length."""
BYTES_PER_SECOND = 16 * 1024
"""A body that arrives more slowly than this, after SECONDS, is given up."""


PIECES, BYTES_PER_PIECE = 1000, 16
"""Pieces that a chunked body may come in, beside one for so many bytes. Each of them costs the
event loop as much as a whole request does."""


class BodyTooSlow(Exception):
    """The body did not arrive in time."""


class TooManyPieces(Exception):
    """The body comes in chunks of a few bytes."""


class TooManyBodies(Exception):
    """More bodies are being received than the process has room for."""


class Receiver:
    """Counts the bytes of the bodies that are being received, for which there is so much room."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.reserved = 0
        self.reserved_by: Counter[Hashable] = Counter()

    @contextmanager
    def room(self, length: int, client: Hashable) -> Iterator[None]:
        """Reserve room for a body while it is received and its request is answered.

        Raises TooManyBodies.
        """
        held = self.reserved_by[client]
        part = self.size // (PART_OF_UNKNOWN if isinstance(client, str) else PART)
        if self.reserved + length > self.size or (held and held + length > part):
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


def length_of(environ: Environ, limit: int) -> int:
    """Return how many bytes to receive: 0 where there is no body, or none that may be received.

    Of a chunked body this is the limit and one byte more, so that the view sees that it is too
    long. What the middleware rejects without its body is left to it: chunks outside the API, other
    encodings, a Content-Length that is no number or over the limit.
    """
    if "HTTP_TRANSFER_ENCODING" in environ:
        return limit + 1 if takes_chunks(environ) else 0
    text = environ.get("CONTENT_LENGTH") or "0"
    if not (text.isascii() and text.isdecimal()) or len(text) > len(str(limit)):
        return 0
    length = int(text)
    return length if length <= limit else 0


def takes_chunks(environ: Mapping[str, Any]) -> bool:
    """Return whether a body that comes with a Transfer-Encoding is read."""
    encoding: str = environ["HTTP_TRANSFER_ENCODING"]
    path: str = environ["PATH_INFO"]
    return encoding.lower() == "chunked" and path.startswith("/api/")


async def receive(protocol: HTTPProtocol, length: int, *, chunked: bool) -> IO[bytes]:
    """Return the body, at most `length` bytes of it.

    Raises BodyTooSlow, TooManyPieces, and ProtocolClosed if the client leaves before its end.
    """
    try:
        if not chunked and length <= IN_MEMORY:
            async with asyncio.timeout(SECONDS + length / BYTES_PER_SECOND):
                return BytesIO(await protocol())
        async with asyncio.timeout(SECONDS) as limit:
            return await _receive_in_pieces(protocol, length, limit)
    except TimeoutError:
        raise BodyTooSlow from None


async def _receive_in_pieces(
    protocol: HTTPProtocol, length: int, limit: asyncio.Timeout
) -> IO[bytes]:
    first = limit.when() or 0.0
    file = SpooledTemporaryFile(IN_MEMORY, dir=str(settings.TRANSFERS))  # noqa: SIM115 - returned open
    try:
        pieces = 0
        async for piece in protocol:
            pieces += 1
            if pieces > PIECES + file.tell() / BYTES_PER_PIECE:
                raise TooManyPieces
            file.write(piece[: length - file.tell()])
            limit.reschedule(first + file.tell() / BYTES_PER_SECOND)
            if file.tell() >= length:
                break
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return file
