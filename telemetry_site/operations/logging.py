"""Filters and formatters of the log: text lines or, with LOG_FORMAT=json, JSON objects."""

import json
import logging
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from django.db import OperationalError

from accounts.tokens import format as token_format

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""The id of the current request; every log line of the request contains it."""


class TokenMaskingFilter(logging.Filter):
    """Masks tokens in log messages; only their prefix stays."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = token_format.mask_tokens(record.getMessage()), None
        return True


class SecurityWarningFilter(logging.Filter):
    """Removes the traceback of requests that Django rejects, such as those with a forged Host.
    Otherwise any client could fill the log.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.startswith("django.security"):
            record.exc_info = record.exc_text = None
        return True


class DatabaseErrorFilter(logging.Filter):
    """Shortens database outages to one line per request: the path and the reason."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, OperationalError):
            reason = (str(error).splitlines() or [""])[0]
            record.msg, record.args = f"{record.getMessage()}: {reason}", None
            record.exc_info = None
        return True


class JSONFormatter(logging.Formatter):
    """Formats a record as a JSON object on one line: time, level, logger, message, request_id and
    the `fields` of the record.
    """

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        request = getattr(record, "request", None)
        if current := request_id.get() or getattr(request, "request_id", ""):
            entry["request_id"] = current
        entry |= getattr(record, "fields", {})
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return token_format.mask_tokens(json.dumps(entry, ensure_ascii=False, default=str))
