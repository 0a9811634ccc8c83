"""Decompression of request bodies."""

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
"""Base-2 logarithm of the window of a zstd frame: 8 MiB, which every decoder must support
(RFC 8878, 3.1.1.1.2)."""
CHUNK_BYTES = 64 * 1024


class UnsupportedEncoding(ValueError):
    """The Content-Encoding is not supported."""


class BodyTooLarge(ValueError):
    """The body has more than `limit` bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"The body may have at most {limit} bytes.")
        self.limit = limit


class CorruptBody(ValueError):
    """The body is incomplete or does not match its Content-Encoding."""


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
    """Yield the decompressed body in chunks. Decompression stops at `limit` bytes, which limits
    the cost of a decompression bomb.

    Raises UnsupportedEncoding, CorruptBody, BodyTooLarge.
    """
    opener = OPENERS.get(encoding.strip().lower())
    if opener is None:
        raise UnsupportedEncoding(
            f"Content-Encoding {encoding[:40]!r} is not supported; gzip and zstd are."
        )
    try:
        opened, total = opener(stream), 0
        while chunk := opened.read(min(CHUNK_BYTES, limit + 1 - total)):
            total += len(chunk)
            if total > limit:
                raise BodyTooLarge(limit)
            yield chunk
    except (gzip.BadGzipFile, EOFError, zlib.error, zstd.ZstdError) as error:
        raise CorruptBody(f"The body is not {encoding}: {error}.") from None
