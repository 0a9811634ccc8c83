"""What is counted and logged of every request: never its body, never a secret."""

import logging

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from common.metrics_store import counter
from telemetry.ingest import outcome
from telemetry_site.middleware import rejection_log

logger = logging.getLogger(__name__)

KINDS = ("accepted", "duplicate", "rejected")


def record_request(request: HttpRequest, response: HttpResponse, *, seconds: float) -> None:
    """Count a request with the time its answer took, the readings it brought and what was refused
    of them, and log a line of it where LOG_REQUESTS asks for that.
    """
    door, status = _endpoint_class(request), str(response.status_code)
    counter.time((door, status), seconds)
    if brought := outcome.get_outcome(response):
        for kind, count in zip(KINDS, brought[:3], strict=True):
            if count:
                counter.add(("readings", kind), count)
    for reason in rejection_log.rejection_reasons(response):
        counter.add(("refused", reason.code), reason.times)
    if settings.LOG_REQUESTS and door != "static":
        _log(request, status, seconds)


def _endpoint_class(request: HttpRequest) -> str:
    path = request.path_info
    if not path.startswith("/api/"):
        return "static" if path.startswith("/static/") else "pages"
    return "ingest" if request.method == "POST" and path.endswith("/telemetry") else "api"


def _log(request: HttpRequest, status: str, seconds: float) -> None:
    milliseconds = round(seconds * 1000, 1)
    told = {
        "method": request.method,
        "path": request.path,
        "status": int(status),
        "duration_ms": milliseconds,
    }
    words = "%(method)s %(path)s %(status)d %(duration_ms).1f ms"
    logger.info(words, told, extra={"fields": told})
