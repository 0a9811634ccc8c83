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
    """Answer probes and Prometheus before anything else is done."""

    def middleware(request: HttpRequest) -> HttpResponse:
        path = request.path_info
        if path in health.PATHS:
            return health.probe_response(path)
        if path == metrics.PATH and metrics.is_allowed(request):
            return metrics.metrics_response()
        return get_response(request)

    return middleware


def request_id_and_timing(get_response: Handler) -> Handler:
    """Give each request an id that its answer, error page and log lines carry, and time it."""

    def middleware(request: HttpRequest) -> HttpResponse:
        started = time.perf_counter()
        known = uuid.uuid4().hex
        request.request_id = known  # type: ignore[attr-defined]
        # Until the next request: an answer that is streamed is logged about later than this.
        log_formatting.request_id.set(known)
        response = get_response(request)
        response["X-Request-Id"] = known
        request_metrics.record_request(request, response, seconds=time.perf_counter() - started)
        return response

    return middleware


def record_rejections(get_response: Handler) -> Handler:
    """Let owners see what was refused of their devices."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if reasons := rejection_log.rejection_reasons(response):
            rejection_log.record_rejection(request, reasons, status=response.status_code)
        return response

    return middleware


def ingest_fast_path(get_response: Handler) -> Handler:
    """Let devices pass that have one reading to hand in."""

    def middleware(request: HttpRequest) -> HttpResponse:
        try:
            return fast_path.try_fast_path(request) or get_response(request)
        except OperationalError:
            # Of the express lane's own: behind it every error has become an answer.
            return problems.database_unavailable(request)

    return middleware
