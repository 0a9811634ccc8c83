"""The WSGI application that granian serves."""

import os
from collections.abc import Iterable
from io import BytesIO
from typing import Any

from django.core.wsgi import get_wsgi_application
from django.utils.http import parse_header_parameters

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "telemetry_site.settings")
os.environ["SERVES_REQUESTS"] = "true"

site = get_wsgi_application()


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """The site, which is shown neither a Content-Type that the framework fails to read nor a
    body without a length, which it would take for an empty one.
    """
    try:
        parse_header_parameters(environ.get("CONTENT_TYPE", ""))
    except (ValueError, LookupError):
        environ["CONTENT_TYPE"] = "application/octet-stream"
    if environ.get("HTTP_TRANSFER_ENCODING", "").strip().lower() == "chunked":
        give_length(environ)
    return site(environ, start_response)


def give_length(environ: dict[str, Any]) -> None:
    """Read a body that comes in chunks; of one that is too long, no more than shows that it is."""
    # It imports models, which there are only now.
    from telemetry_site.middleware import limit_of_view

    path = environ["PATH_INFO"].rstrip("/") or "/"
    body = environ["wsgi.input"].read(limit_of_view(path) + 1)
    environ["wsgi.input"] = BytesIO(body)
    environ["CONTENT_LENGTH"] = str(len(body))
    del environ["HTTP_TRANSFER_ENCODING"]
