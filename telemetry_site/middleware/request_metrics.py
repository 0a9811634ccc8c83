"""Metrics and log lines of requests. They never contain a body or a secret."""

import logging

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from common.metrics_store import counter
from telemetry.ingest import outcome
from telemetry_site.middleware import rejection_log

logger = logging.getLogger(__name__)

OUTCOMES = ("accepted", "duplicate", "rejected")


def record_request(request: HttpRequest, response: HttpResponse, *, seconds: float) -> None:
    """Count the request, its response time, its readings and the rejection reasons. With
    LOG_REQUESTS, log a line.
    """
    endpoint, status = _endpoint_class(request), str(response.status_code)
    counter.time((endpoint, status), seconds)
    if ingested := outcome.get_outcome(response):
        for kind, count in zip(OUTCOMES, ingested[:3], strict=True):
            if count:
                counter.add(("readings", kind), count)
    for reason in rejection_log.rejection_reasons(response):
        counter.add(("refused", reason.code), reason.times)
    if settings.LOG_REQUESTS and endpoint != "static":
        _log(request, status, seconds)


def _endpoint_class(request: HttpRequest) -> str:
    path = request.path_info
    if not path.startswith("/api/"):
        return "static" if path.startswith("/static/") else "pages"
    return "ingest" if request.method == "POST" and path.endswith("/telemetry") else "api"


def _log(request: HttpRequest, status: str, seconds: float) -> None:
    milliseconds = round(seconds * 1000, 1)
    fields = {
        "method": request.method,
        "path": request.path,
        "status": int(status),
        "duration_ms": milliseconds,
    }
    line = "%(method)s %(path)s %(status)d %(duration_ms).1f ms"
    logger.info(line, fields, extra={"fields": fields})
