"""The WSGI environ of an RSGI request."""

import sys
from io import BytesIO
from typing import IO, Any

from django.utils.http import parse_header_parameters
from granian.rsgi import Scope

Environ = dict[str, Any]

_COMMON: Environ = {
    "SCRIPT_NAME": "",
    "wsgi.version": (1, 0),
    "wsgi.errors": sys.stderr,
    "wsgi.multithread": True,
    "wsgi.multiprocess": True,
    "wsgi.run_once": False,
}


def make_environ(scope: Scope) -> Environ:
    """Return the environ without its body (`wsgi.input` is empty).

    `unreadable_headers` names those whose value is not ASCII, which the server leaves out, cookies
    apart. Headers with an underscore in their name are dropped: in the environ they would look like
    those with a hyphen, and X_Forwarded_For would pass for X-Forwarded-For.
    """
    server, _, port = scope.server.rpartition(":")
    environ: Environ = {
        **_COMMON,
        "REQUEST_METHOD": scope.method,
        "PATH_INFO": scope.path.encode("utf-8").decode("latin-1"),
        "QUERY_STRING": scope.query_string,
        "SERVER_NAME": server.strip("[]"),
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "REMOTE_ADDR": scope.client.rpartition(":")[0].strip("[]"),
        "wsgi.url_scheme": scope.scheme,
        "wsgi.input": BytesIO(),
    }
    items = scope.headers.items()
    # Other sites of the same host may set such cookies; a proxy's header must not get lost.
    unread = set(scope.headers.keys()).difference(name for name, _ in items) - {"cookie"}
    if unread:
        environ["unreadable_headers"] = sorted(unread)
    for name, value in items:
        if "_" in name:
            continue
        key = name.replace("-", "_").upper()
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = f"HTTP_{key}"
        if key in environ:
            separator = "; " if key == "HTTP_COOKIE" else ","
            value = f"{environ[key]}{separator}{value}"
        environ[key] = value
    environ.setdefault("HTTP_HOST", scope.authority or "")
    if "CONTENT_TYPE" in environ:
        environ["CONTENT_TYPE"] = _readable_content_type(environ["CONTENT_TYPE"])
    return environ


def set_body(environ: Environ, body: IO[bytes], *, most: int) -> None:
    """Let Django read this body.

    Django takes a body without Content-Length, a chunked one, for an empty one. It is given the
    `most` bytes that the body may have, and the views measure what they read.
    """
    environ["wsgi.input"] = body
    if "HTTP_TRANSFER_ENCODING" in environ:
        environ["CONTENT_LENGTH"] = str(most)


def _readable_content_type(text: str) -> str:
    """Return the Content-Type, or that of unknown bytes where Django fails to parse it."""
    try:
        parse_header_parameters(text)
    except (ValueError, LookupError):
        return "application/octet-stream"
    return text
