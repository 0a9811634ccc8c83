"""Malformed or misleading headers, tokens, paths and queries."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from urllib.parse import quote

from tests.malformed_input.case import Case, Outcome
from tests.malformed_input.endpoints import NOWHERE, Endpoint
from tests.malformed_input.http_client import Request

LONG = b"x" * 8000

HEADERS: dict[str, tuple[str, bytes]] = {
    "a cookie with a NUL": ("Cookie", rb'a="x\000"'),
    "8,000 characters of cookie": ("Cookie", LONG),
    "an invalid cookie": ("Cookie", b";;==; =; \xff=\xfe"),
    "1,000 cookies": ("Cookie", b"; ".join(b"c%d=1" % n for n in range(1000))),
    "a made-up session": ("Cookie", b"p8000-session=../../etc/passwd; sessionid=x"),
    "another host": ("Host", b"evil.example"),
    "a host with an invalid port": ("Host", b"localhost:99999999"),
    "a host with a user": ("Host", b"a@localhost"),
    "a host of spaces": ("Host", b" "),
    "a host that is not ASCII": ("Host", "löcalhost".encode()),
    "another forwarded host": ("X-Forwarded-Host", b"evil.example"),
    "invalid IP addresses": ("X-Forwarded-For", b"not, an, address, \xff, ::gg, 1.2.3.4.5"),
    "8,000 characters of IP addresses": ("X-Forwarded-For", b"1.2.3.4," * 1000),
    "an unknown scheme": ("X-Forwarded-Proto", b"gopher"),
    "another method": ("X-HTTP-Method-Override", b"DELETE"),
    "a user agent that is not UTF-8": ("User-Agent", b"\xff\xfe\x80"),
    "8,000 characters of user agent": ("User-Agent", LONG),
    "an invalid Accept": ("Accept", b"*/*;q=x, ;;, application/\xff"),
    "an invalid language": ("Accept-Language", b"de;q=9999999999999999, \xff, *-*-*, " + LONG),
    "an invalid encoding": ("Accept-Encoding", b"gzip;q=NaN, \xff"),
    "a range": ("Range", b"bytes=0-,5-1,-0"),
    "an invalid date": ("If-Modified-Since", b"Sat, 99 Foo 99999 99:99:99 GMT"),
    "an invalid ETag": ("If-None-Match", b'W/"\xff'),
    "an upgrade": ("Upgrade", b"h2c, websocket"),
    "an origin": ("Origin", b"https://evil.example"),
    "an invalid referrer": ("Referer", b"http://[::1"),
    "a forged request id": ("X-Request-Id", b"' OR 1=1 --"),
    "an empty Content-Encoding": ("Content-Encoding", b""),
    "an empty key": ("Idempotency-Key", b""),
    "a key of 256 characters": ("Idempotency-Key", b"k" * 256),
    "a key that is not ASCII": ("Idempotency-Key", "schlüssel".encode()),
    "a key with a tab": ("Idempotency-Key", b"a\tb"),
    "last event": ("Last-Event-ID", b"\xff" * 100),
    "a length with an underscore": ("Content_Length", b"5"),
    "a token with an underscore": ("HTTP_AUTHORIZATION", b"Bearer x"),
}
"""Valid or not: each endpoint decides which of them it uses."""

TOKENS: dict[str, bytes] = {
    "none": b"",
    "an empty one": b"Bearer ",
    "a scheme alone": b"Bearer",
    "another scheme": b"Basic dXNlcjpwYXNzd29yZA==",
    "Digest": b'Digest username="x"',
    "an invalid one": b"Bearer x",
    "a prefix alone": b"Bearer tsu_",
    "a device's prefix alone": b"Bearer tsd_",
    "an unknown one": b"Bearer tsu_" + b"0" * 49,
    "an unknown one of a device": b"Bearer tsd_" + b"a" * 49,
    "one of another kind": b"Bearer tsv_" + b"0" * 49,
    "one that is too long": b"Bearer tsd_" + b"0" * 7000,
    "one with a quote": b"Bearer tsu_' OR '1'='1",
    "one that is not ASCII": "Bearer tsu_ÄÖÜ".encode(),
    "one that is not UTF-8": b"Bearer tsd_\xff\xfe\x00"[:-1] + b"\x80",
    "two": b"Bearer tsu_x, Bearer tsd_y",
    "digits of another script": "Bearer tsd_٠١٢".encode(),
    "JSON": b'{"token": "tsu_"}',
}
"""Values of `Authorization`."""

IDS: dict[str, str] = {
    "braces": f"{{{NOWHERE}}}",
    "a urn": f"urn:uuid:{NOWHERE}",
    "no hyphens": NOWHERE.hex,
    "a character too many": f"{NOWHERE}0",
    "a letter that is no digit": f"g{str(NOWHERE)[1:]}",
    "a number": "1",
    "-1": "-1",
    "a NUL": "%00",
    "a NUL behind": f"{NOWHERE}%00",
    "a line end behind": f"{NOWHERE}%0a",
    "dots": "%2e%2e%2f%2e%2e",
    "no UTF-8": "%ff%fe",
    "an overlong slash": "%c0%af",
    "half an escape": "%",
    "other digits": quote(str(NOWHERE).replace("0", "\u0660")),
    "a lone surrogate": "%ed%a0%80",
    "a quote": "'%20OR%20'1'='1",
    "markup": "%3Cscript%3E",
    "a template": "%7B%7B7*7%7D%7D",
    "4,000 characters": "x" * 4000,
    "an unknown id": str(NOWHERE),
}
"""Ids in a path."""

QUERIES: dict[str, bytes] = {
    "a NUL": b"a=%00",
    "a NUL in a name": b"%00=1",
    "no UTF-8": b"a=%ff%fe&%c0%af=1",
    "half an escape": b"a=%&b=%2&c=%zz",
    "look-ups": b"payload__a__regex=(&user__password__startswith=a&pk__in=1,2",
    "a lookup of 300 parts": b"payload" + b"__a" * 300 + b"=1",
    "an order": b"ordering=user__password&order_by=%3F",
    "a format": b"format=xml&format=api",
    "another method": b"_method=DELETE&_content=x",
    "an invalid number": b"limit=NaN&limit=1e400&limit=" + b"9" * 5000,
    "1,100 names": b"&".join(b"a%d=" % number for number in range(1100)),
    "separators only": b"&&&;;;===&",
    "an invalid cursor": b"cursor=AAAA&cursor=%F0%9F%8C%A1",
    "7,000 characters": b"a=" + b"x" * 7000,
    "another user": b"user=1&user_id=1&is_staff=1",
}


def cases() -> Iterator[Case]:
    for name, (header, value) in HEADERS.items():
        yield Case(f"{name} in {header}", _with_header(header, value), Outcome.EITHER)
    for name, value in TOKENS.items():
        # A header that is not ASCII is rejected before the token is read.
        status = 401 if value.isascii() else 400
        yield Case(f"{name} as token", _with_token(value), status=status)
    for name, text in IDS.items():
        # A path that does not end as expected is a 404 for every user.
        yield Case(f"{name} in the path", _with_id(text), status=404)
        yield Case(f"{name} behind the path", _with_more_path(text), Outcome.EITHER)
    for name, query in QUERIES.items():
        yield Case(f"{name} in the query", _with_query(query), Outcome.EITHER)


Make = Callable[[Endpoint, Request], Request | None]


def _with_header(header: str, value: bytes) -> Make:
    def make(endpoint: Endpoint, request: Request) -> Request:
        return replace(request, headers={**request.headers, header: value})

    return make


def _with_token(value: bytes) -> Make:
    def make(endpoint: Endpoint, request: Request) -> Request | None:
        if not endpoint.security_schemes:
            return None
        others = request.without("Authorization")
        return others.with_headers(Authorization=value) if value else others

    return make


def _with_id(text: str) -> Make:
    def make(endpoint: Endpoint, request: Request) -> Request | None:
        if "{" not in endpoint.path:
            return None
        # The last id; the ids before it exist.
        names = re.findall(r"\{(\w+)\}", endpoint.path)
        place = endpoint.path.split("/").index(f"{{{names[-1]}}}")
        parts = request.target.split(b"/")
        parts[place] = text.encode()
        return replace(request, target=b"/".join(parts))

    return make


def _with_more_path(text: str) -> Make:
    def make(endpoint: Endpoint, request: Request) -> Request:
        return replace(request, target=b"%b/%b" % (request.target, text.encode()))

    return make


def _with_query(query: bytes) -> Make:
    def make(endpoint: Endpoint, request: Request) -> Request:
        return replace(request, target=b"%b?%b" % (request.target, query))

    return make
