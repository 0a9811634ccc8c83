"""The bytes of a request's body, inflated where it comes deflated."""

import gzip
import sys
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ZSTD_WINDOW_LOG_MAX = 23
"""Of a zstd frame, as a power of two: 8 MiB, what every decoder must bear (RFC 8878, 3.1.1.1.2)."""
CHUNK = 64 * 1024


class UnsupportedEncoding(ValueError):
    """A Content-Encoding that nobody here reads."""


class BodyTooLarge(ValueError):
    """More bytes than may be; `limit` of them."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"The body may have {limit} bytes at the most.")
        self.limit = limit


class CorruptBody(ValueError):
    """Not what its Content-Encoding says, or not all of it."""


def _open_zstd(stream: IO[bytes]) -> IO[bytes]:
    options = {int(zstd.DecompressionParameter.window_log_max): ZSTD_WINDOW_LOG_MAX}
    opened: Any = zstd.ZstdFile(stream, options=options)
    return opened  # type: ignore[no-any-return]


def _open_gzip(stream: IO[bytes]) -> IO[bytes]:
    opened: Any = gzip.GzipFile(fileobj=stream)
    return opened  # type: ignore[no-any-return]


OPENERS: dict[str, Callable[[IO[bytes]], IO[bytes]]] = {
    "": lambda stream: stream,
    "identity": lambda stream: stream,
    "gzip": _open_gzip,
    "x-gzip": _open_gzip,
    "zstd": _open_zstd,
}


def iter_decoded(stream: IO[bytes], encoding: str, *, limit: int) -> Iterator[bytes]:
    """The body a piece at a time, at most `limit` bytes in all: a bomb is never inflated further.

    Raises UnknownEncoding, DamagedBody, BodyTooLarge.
    """
    opener = OPENERS.get(encoding.strip().lower())
    if opener is None:
        raise UnsupportedEncoding(
            f"Content-Encoding: gzip and zstd are read, {encoding[:40]!r} is not."
        )
    try:
        opened, total = opener(stream), 0
        while chunk := opened.read(min(CHUNK, limit + 1 - total)):
            total += len(chunk)
            if total > limit:
                raise BodyTooLarge(limit)
            yield chunk
    except (gzip.BadGzipFile, EOFError, zlib.error, zstd.ZstdError) as error:
        raise CorruptBody(f"The body is not {encoding}: {error}.") from None
