"""Bytes that are not HTTP, or HTTP that two servers may read differently (request smuggling)."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from tests.malformed_input.case import Case, Outcome
from tests.malformed_input.endpoints import Endpoint
from tests.malformed_input.http_client import Request

Change = Callable[[bytes], bytes]


def _line(old: bytes, new: bytes) -> Change:
    return lambda raw: raw.replace(old, new, 1)


def _more(*lines: bytes) -> Change:
    """Insert header lines before all others."""
    return lambda raw: raw.replace(b"\r\n", b"\r\n%b\r\n" % b"\r\n".join(lines), 1)


NO_HTTP: dict[str, Change] = {
    "a NUL in a header": _more(b"X-A: a\0b"),
    "a carriage return in a header": _more(b"X-A: a\rb"),
    "a header without a colon": _more(b"nonsense"),
    "a header without a name": _more(b": x"),
    "a space before the colon": _more(b"X-A : x"),
    "a header on two lines": _more(b"X-A: a", b" b"),
    "a name that is not ASCII": _more("Größe: 1".encode()),
    "no version": _line(b" HTTP/1.1", b""),
    "version 0.9": _line(b"HTTP/1.1", b"HTTP/0.9"),
    "version 3": _line(b"HTTP/1.1", b"HTTP/3.0"),
    "an invalid version": _line(b"HTTP/1.1", b"HTTP/x"),
    "a space in the path": _line(b"/api", b"/a pi"),
    "a bare NUL in the path": _line(b"/api", b"/\0api"),
    "a tab in the path": _line(b"/api", b"/api\t"),
    "no path": lambda raw: b"POST  HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a method with a space": lambda raw: b"PO ST" + raw[4:],
    "an invalid method": lambda raw: b'{"a": 1}\r\n' + raw,
    "TLS": lambda raw: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
    "SSH": lambda raw: b"SSH-2.0-OpenSSH_9.2\r\n",
    "SOCKS": lambda raw: b"\x05\x01\x00",
    "noise": lambda raw: bytes(range(256)) * 4,
    "an invalid length": _more(b"Content-Length: five"),
    "a length below zero": _more(b"Content-Length: -1"),
    "a length with a plus": _more(b"Content-Length: +2"),
    "a length beyond 64 bits": _more(b"Content-Length: 18446744073709551617"),
    "two lengths": _more(b"Content-Length: 1", b"Content-Length: 2"),
    "two lengths on a line": _more(b"Content-Length: 1, 2"),
    "200 headers": _more(*(b"X-%d: 1" % number for number in range(200))),
    "a header of a megabyte": _more(b"X-A: " + b"x" * 1_000_000),
    "a path of 100,000 characters": _line(b"/api", b"/api" + b"x" * 100_000),
}

EITHER: dict[str, Change] = {
    "line ends without carriage return": lambda raw: raw.replace(b"\r\n", b"\n"),
    "empty lines before it": lambda raw: b"\r\n\r\n" + raw,
    "version 1.0": _line(b"HTTP/1.1", b"HTTP/1.0"),
    "no host": _line(b"Host: localhost\r\n", b""),
    "two hosts": _more(b"Host: evil.example"),
    "a whole address": _line(b" /api", b" http://evil.example/api"),
    "a path of bytes": _line(b"/api", b"/\xff\xfeapi"),
    "bytes in the query": _line(b" HTTP/1.1", b"?a=\xff\xfe HTTP/1.1"),
    "a fragment": _line(b" HTTP/1.1", b"#x HTTP/1.1"),
    "a backslash": _line(b"/api", b"\\api"),
    "two slashes": _line(b"/api", b"//api"),
    "a step back in the path": _line(b"/api", b"/x/../api"),
    "an asterisk": lambda raw: b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a tunnel": lambda raw: b"CONNECT localhost:22 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "TRACE": lambda raw: b"TRACE /api/v1/devices HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a method of 1,000 letters": lambda raw: b"X" * 1000 + raw[raw.index(b" ") :],
    "a method in small letters": lambda raw: b"post" + raw[raw.index(b" ") :],
    "HTTP/2 at once": lambda raw: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
    "an expectation": _more(b"Expect: 200-ok"),
    "100 headers of one name": _more(*[b"X-A: 1"] * 60),
    "two content types": _more(b"Content-Type: text/plain"),
    "two tokens": _more(b"Authorization: Bearer tsu_x"),
}  # fmt: skip

NO_CHUNKS: dict[str, bytes] = {
    "a chunk of an invalid length": b"xyz\r\n{}\r\n0\r\n\r\n",
    "a chunk of a length below zero": b"-2\r\n{}\r\n0\r\n\r\n",
    "a chunk beyond 64 bits": b"1" + b"0" * 20 + b"\r\n{}\r\n0\r\n\r\n",
    "a chunk longer than its length": b'2\r\n{"a": 1}\r\n0\r\n\r\n',
    "an extension of 100,000 characters": b"2;" + b"x" * 100_000 + b"\r\n{}\r\n0\r\n\r\n",
    "chunks with an invalid trailer": b'2\r\n{"\r\n0\r\nnonsense\r\n\r\n',
}
"""Bodies of `Transfer-Encoding: chunked`. The server ends the body where the chunks are broken, so
the part before must not be JSON.
"""

BOMBS = {
    "two megabytes in chunks": b"10000\r\n%b\r\n" % (b" " * 65536) * 32 + b"0\r\n\r\n",
    "200,000 chunks of a byte": b"1\r\n \r\n" * 200_000 + b"0\r\n\r\n",
}


def cases() -> Iterator[Case]:
    for name, change in NO_HTTP.items():
        yield Case(name, _changed(change), Outcome.NO_HTTP)
    for name, change in EITHER.items():
        yield Case(name, _changed(change), Outcome.EITHER)
    for name, body in NO_CHUNKS.items():
        yield Case(name, _read(_chunked(body)), Outcome.NO_HTTP)
    for name, body in BOMBS.items():
        yield Case(name, _chunked(body), Outcome.EITHER)
    yield Case("a length and chunks", _both, Outcome.EITHER)
    yield Case("chunks that are gzip", _encoded(b"gzip, chunked"), Outcome.NO_HTTP)
    yield Case("chunks with encoding identity", _encoded(b"identity"), Outcome.EITHER)
    yield Case("chunked twice", _encoded(b"chunked, chunked"), Outcome.EITHER)
    yield Case("half a body", _half(), Outcome.NO_HTTP, is_half=True)
    yield Case("half a head", _cut(b"\r\n", 2), Outcome.NO_HTTP, is_half=True)
    endless = _read(_chunked(b'2\r\n{"\r\n'))
    yield Case("chunks that do not end", endless, Outcome.NO_HTTP, is_half=True)


Make = Callable[[Endpoint, Request], Request | None]


def _changed(change: Change) -> Make:
    def make(endpoint: Endpoint, request: Request) -> Request:
        return replace(request, raw=change(request.bytes()))

    return make


def _read(make: Make) -> Make:
    """Use the case only for endpoints that read the body."""
    return lambda endpoint, request: make(endpoint, request) if endpoint.has_body else None


def _encoded(encoding: bytes, body: bytes = b"2\r\n{}\r\n0\r\n\r\n") -> Make:
    def make(endpoint: Endpoint, request: Request) -> Request:
        with_chunks = request.with_headers(Transfer_Encoding=encoding).with_body(body)
        return replace(with_chunks, raw=with_chunks.bytes())

    return make


def _chunked(body: bytes) -> Make:
    return _encoded(b"chunked", body)


def _both(endpoint: Endpoint, request: Request) -> Request:
    head = request.with_headers(Content_Length=b"4", Transfer_Encoding=b"chunked")
    return replace(head, raw=head.with_body(b"2\r\n{}\r\n0\r\n\r\n").bytes())


def _half() -> Make:
    def make(endpoint: Endpoint, request: Request) -> Request | None:
        if not request.body:
            return None
        return replace(request, raw=request.bytes()[: -len(request.body) // 2])

    return make


def _cut(mark: bytes, count: int) -> Make:
    def make(endpoint: Endpoint, request: Request) -> Request:
        return replace(request, raw=mark.join(request.bytes().split(mark)[:count]))

    return make
