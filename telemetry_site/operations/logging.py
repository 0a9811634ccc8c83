"""What the log may say, and how: lines for people or, with LOG_FORMAT=json, for programs."""

import json
import logging
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from django.db import OperationalError

from accounts.tokens import format as token_format

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""Of the request that is being answered; every line that is logged meanwhile carries it."""


class TokenMaskingFilter(logging.Filter):
    """Leaves of every secret only its beginning, wherever somebody has put it."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = token_format.mask_tokens(record.getMessage()), None
        return True


class SecurityWarningFilter(logging.Filter):
    """Leaves of what the framework refuses (a forged Host, say) what was wrong, and not the stack:
    else anybody can fill the log.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.startswith("django.security"):
            record.exc_info = record.exc_text = None
        return True


class DatabaseErrorFilter(logging.Filter):
    """While the database is away a line for each request is enough: of the path, and of why."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, OperationalError):
            why = (str(error).splitlines() or [""])[0]
            record.msg, record.args = f"{record.getMessage()}: {why}", None
            record.exc_info = None
        return True


class JSONFormatter(logging.Formatter):
    """An object a line: time, level, logger, message, request_id, and `fields` of the record."""

    def format(self, record: logging.LogRecord) -> str:
        told: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if known := request_id.get() or getattr(getattr(record, "request", None), "request_id", ""):
            told["request_id"] = known
        told |= getattr(record, "fields", {})
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        return token_format.mask_tokens(json.dumps(told, ensure_ascii=False, default=str))
