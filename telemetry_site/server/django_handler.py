"""Get the response to a request from Django, and send it. Called in a thread."""

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

LARGE_FILE_BYTES = 1024 * 1024
"""Files of this size and more are sent by the server; smaller ones are read into memory."""


class Handler(WSGIHandler):
    """Django's handler, which returns the request together with the response."""

    def respond(self, environ: Environ) -> tuple[WSGIRequest, HttpResponseBase]:
        """Return the request and its response. The caller must close the response."""
        set_script_prefix("/")
        signals.request_started.send(sender=type(self), environ=environ)
        request = WSGIRequest(environ)
        return request, self.get_response(request)


def large_file(response: HttpResponseBase) -> IO[bytes] | None:
    """Return the open file of the response if it is large, otherwise None.

    Write other large responses to a temporary file: otherwise they stay in memory until a slow
    client has read them.
    """
    if isinstance(response, HttpResponse) and len(response.content) >= LARGE_FILE_BYTES:
        written = TemporaryFile(dir=settings.TRANSFERS)  # noqa: SIM115 - closed with the response
        response._resource_closers.append(written.close)  # type: ignore[attr-defined]
        written.write(response.content)
        written.flush()
        return written
    file: Any = response.file_to_stream if isinstance(response, FileResponse) else None
    if file is None or not hasattr(file, "fileno"):
        return None
    return file if os.fstat(file.fileno()).st_size >= LARGE_FILE_BYTES else None


def send(protocol: HTTPProtocol, response: HttpResponseBase) -> None:
    """Send a response from memory.

    Join a streamed response first: the server would hold all of it in memory anyway while a slow
    client reads.
    """
    content = b"".join(response) if response.streaming else response.content  # type: ignore[attr-defined]
    protocol.response_bytes(response.status_code, _headers(response), content)


def send_head(protocol: HTTPProtocol, response: HttpResponseBase) -> None:
    """Send the response to HEAD. The content, which may be a large file, is not read."""
    protocol.response_empty(response.status_code, _headers(response))


def send_file(protocol: HTTPProtocol, response: HttpResponseBase, file: IO[bytes]) -> None:
    """Send an open file. The server opens it again by its path in /dev/fd, which also works for a
    file without a name, so the file must stay open until then.
    """
    protocol.response_file(response.status_code, _headers(response), f"/dev/fd/{file.fileno()}")


def _headers(response: HttpResponseBase) -> list[tuple[str, str]]:
    cookies = [("set-cookie", cookie.OutputString()) for cookie in response.cookies.values()]
    return [*((name.lower(), value) for name, value in response.items()), *cookies]
