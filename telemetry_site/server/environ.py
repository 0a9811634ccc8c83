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

    `unreadable_headers` lists the headers with a value that is not ASCII, which granian leaves out;
    cookies are not listed. Drop headers with an underscore in their name: in the environ,
    X_Forwarded_For and X-Forwarded-For have the same key.
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
    # Ignore cookies: other sites of the same host may set unreadable ones. Other headers, such as
    # those of a proxy, must not be lost.
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


def set_body(environ: Environ, body: IO[bytes], *, limit: int) -> None:
    """Set the body that Django reads.

    Django treats a body without Content-Length, such as a chunked one, as empty. So the length is
    set to `limit`, the maximum, and the views count the bytes that they read.
    """
    environ["wsgi.input"] = body
    if "HTTP_TRANSFER_ENCODING" in environ:
        environ["CONTENT_LENGTH"] = str(limit)


def _readable_content_type(text: str) -> str:
    """Return the Content-Type, or application/octet-stream if Django cannot parse it."""
    try:
        parse_header_parameters(text)
    except (ValueError, LookupError):
        return "application/octet-stream"
    return text
