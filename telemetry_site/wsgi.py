"""The WSGI application that granian serves."""

import os
import signal
from collections.abc import Iterable
from multiprocessing import parent_process
from typing import Any

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.utils.http import parse_header_parameters

from telemetry_site.checks import refuse_unsafe_start
from telemetry_site.counts import counter

if parent_process():
    # granian's workers listen for the end only when all this is loaded. Until then they have what
    # they took over from their parent, which would hear and forget it.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "telemetry_site.settings")
os.environ["SERVES_REQUESTS"] = "true"

site = get_wsgi_application()
refuse_unsafe_start()
counter.share(settings.METRICS_DIR)


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """The site, which is shown neither a Content-Type that the framework fails to read nor a
    body without a length, which it would take for an empty one.
    """
    try:
        parse_header_parameters(environ.get("CONTENT_TYPE", ""))
    except (ValueError, LookupError):
        environ["CONTENT_TYPE"] = "application/octet-stream"
    if "HTTP_TRANSFER_ENCODING" in environ:
        # How long it is, whoever reads it will see; first they look who is sending.
        environ["CONTENT_LENGTH"] = str(max(settings.BODY_LIMIT, settings.IMPORT_LIMIT) + 1)
    return site(environ, start_response)
