"""Django's part: from an environ to a response, in a thread."""

import os
from tempfile import TemporaryFile
from typing import IO, Any

from django.conf import settings
from django.core import signals
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.http import FileResponse, HttpResponse, HttpResponseBase
from django.urls import set_script_prefix
from granian.rsgi import HTTPProtocol

from telemetry_site.server.environ import Environ

LARGE_FILE = 1024 * 1024
"""Bytes from which on a file is sent as a file; a smaller one is read, like a page."""


class Handler(WSGIHandler):
    """Django's handler, which hands out the request beside the response."""

    def respond(self, environ: Environ) -> tuple[WSGIRequest, HttpResponseBase]:
        """Return the request and its response, which the caller closes."""
        set_script_prefix("/")
        signals.request_started.send(sender=type(self), environ=environ)
        request = WSGIRequest(environ)
        return request, self.get_response(request)


def large_file(response: HttpResponseBase) -> IO[bytes] | None:
    """Return the open file that the response consists of, if it is a large one.

    A large answer of another kind is written to a file: in memory it would stay for as long as a
    client does not read it.
    """
    if isinstance(response, HttpResponse) and len(response.content) >= LARGE_FILE:
        written = TemporaryFile(dir=settings.TRANSFERS)  # noqa: SIM115 - closed with the response
        response._resource_closers.append(written.close)  # type: ignore[attr-defined]
        written.write(response.content)
        written.flush()
        return written
    file: Any = response.file_to_stream if isinstance(response, FileResponse) else None
    if file is None or not hasattr(file, "fileno"):
        return None
    return file if os.fstat(file.fileno()).st_size >= LARGE_FILE else None


def send(protocol: HTTPProtocol, response: HttpResponseBase) -> None:
    """Send a response from memory.

    What is streamed is put together first: the server would keep it in memory all the same while
    a slow client reads.
    """
    content = b"".join(response) if response.streaming else response.content  # type: ignore[attr-defined]
    protocol.response_bytes(response.status_code, _headers(response), content)


def send_head(protocol: HTTPProtocol, response: HttpResponseBase) -> None:
    """Answer HEAD: the content, which may be a large file, is not even read."""
    protocol.response_empty(response.status_code, _headers(response))


def send_file(protocol: HTTPProtocol, response: HttpResponseBase, file: IO[bytes]) -> None:
    """Have the server send an open file. It opens it once more by its path in /dev/fd, which a
    file without a name has, too, so the file must stay open until then.
    """
    protocol.response_file(response.status_code, _headers(response), f"/dev/fd/{file.fileno()}")


def _headers(response: HttpResponseBase) -> list[tuple[str, str]]:
    cookies = [("set-cookie", cookie.OutputString()) for cookie in response.cookies.values()]
    return [*((name.lower(), value) for name, value in response.items()), *cookies]
