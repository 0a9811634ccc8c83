"""Middleware for probes, metrics, request ids and the fast path of readings."""

import time
import uuid

from django.db import OperationalError
from django.http import HttpRequest, HttpResponse

from telemetry.api import fast_path
from telemetry_site.api import problems
from telemetry_site.middleware import rejection_log, request_metrics
from telemetry_site.middleware.http import Handler
from telemetry_site.operations import health, metrics
from telemetry_site.operations import logging as log_formatting


def probes_and_metrics(get_response: Handler) -> Handler:
    """Respond to probes and Prometheus before any other middleware."""

    def middleware(request: HttpRequest) -> HttpResponse:
        path = request.path_info
        if path in health.PATHS:
            return health.probe_response(path)
        if path == metrics.PATH and metrics.is_allowed(request):
            return metrics.metrics_response()
        return get_response(request)

    return middleware


def request_id_and_timing(get_response: Handler) -> Handler:
    """Set a request id for the response, the error page and the log lines, and measure the time."""

    def middleware(request: HttpRequest) -> HttpResponse:
        started = time.perf_counter()
        request_id = uuid.uuid4().hex
        request.request_id = request_id  # type: ignore[attr-defined]
        # Not reset: a streamed response may log after this middleware has returned.
        log_formatting.request_id.set(request_id)
        response = get_response(request)
        response["X-Request-Id"] = request_id
        request_metrics.record_request(request, response, seconds=time.perf_counter() - started)
        return response

    return middleware


def record_rejections(get_response: Handler) -> Handler:
    """Store rejected requests of devices, so that their owners can see them."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if reasons := rejection_log.rejection_reasons(response):
            rejection_log.record_rejection(request, reasons, status=response.status_code)
        return response

    return middleware


def ingest_fast_path(get_response: Handler) -> Handler:
    """Store a single reading of a device without the rest of the middleware."""

    def middleware(request: HttpRequest) -> HttpResponse:
        try:
            return fast_path.try_fast_path(request) or get_response(request)
        except OperationalError:
            # Raised by the fast path itself: `get_response` turns every error into a response.
            return problems.database_unavailable(request)

    return middleware
