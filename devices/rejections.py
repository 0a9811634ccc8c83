"""Rejected requests and readings of devices, counted by reason for the owner.

Only rejected requests are counted, with asynchronous commit: losing a count in a crash is
acceptable. Responses with status 429 are counted in memory for a second first, otherwise rejecting
a request would cost as much as serving it.
"""

import logging
import threading
import time
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.db import Error, connection

from common.random_cache import RandomCache
from common.strict_json import JSONError
from devices.models import Device, Refusal, RefusalQuerySet

logger = logging.getLogger(__name__)

TOO_MANY_REQUESTS = 429
WRITE_INTERVAL = 1.0
"""Seconds between two writes about one device that exceeds a rate limit."""
MAX_BUFFERED = 10_000
TEXT_LIMIT = 500
"""Characters of a pointer or a sentence, which may quote the request."""

UPSERT_SQL = """
    INSERT INTO device_refusals
        (device_id, code, status, count, pointer, detail, request_id, last_at)
    SELECT %(device)s, code, %(status)s, count, pointer, detail, %(request_id)s, %(now)s
    FROM unnest(%(codes)s::text[], %(counts)s::bigint[], %(pointers)s::text[], %(details)s::text[])
            AS sent(code, count, pointer, detail),
        (SELECT set_config('synchronous_commit', 'off', true)) AS asynchronous_commit
    ORDER BY code
    ON CONFLICT (device_id, code) DO UPDATE SET
        count = device_refusals.count + EXCLUDED.count, status = EXCLUDED.status,
        pointer = EXCLUDED.pointer, detail = EXCLUDED.detail,
        request_id = EXCLUDED.request_id, last_at = EXCLUDED.last_at
"""


class RejectionReason(NamedTuple):
    """A code, how often it occurred in one request, and its last pointer and sentence."""

    code: str
    times: int
    pointer: str
    detail: str


def group_errors(faults: Iterable[JSONError]) -> list[RejectionReason]:
    """Group the errors of one request by code."""
    found: dict[str, RejectionReason] = {}
    for fault in faults:
        times = found[fault.code].times if fault.code in found else 0
        found[fault.code] = RejectionReason(fault.code, times + 1, fault.pointer, fault.detail)
    return list(found.values())


def record(
    device_id: UUID,
    reasons: Iterable[RejectionReason],
    *,
    status: int,
    request_id: str,
    now: datetime,
) -> None:
    """Count rejections. Call it outside of transactions.

    Database errors are logged and do not change the response.
    """
    if status == TOO_MANY_REQUESTS:
        reasons = _write_buffer.flushable(device_id, reasons)
    rows = [
        reason._replace(pointer=_storable(reason.pointer), detail=_storable(reason.detail))
        for reason in reasons
    ]
    if not rows:
        return
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                UPSERT_SQL,
                {
                    "device": device_id,
                    "status": status,
                    "request_id": request_id,
                    "now": now,
                    "codes": [row.code for row in rows],
                    "counts": [row.times for row in rows],
                    "pointers": [row.pointer for row in rows],
                    "details": [row.detail for row in rows],
                },
            )
    except Error as error:
        logger.warning("rejected request of device %s is not counted: %s", device_id, error)


def for_device(device: Device) -> RefusalQuerySet:
    """Return the rejections of this device, newest first."""
    return Refusal.objects.filter(device=device).order_by("-last_at", "code")


def _storable(text: str) -> str:
    """Return the text without characters that PostgreSQL cannot store, limited to TEXT_LIMIT."""
    return text[:TEXT_LIMIT].encode(errors="backslashreplace").decode().replace("\0", "\\u0000")


class _WriteBuffer:
    """Counts in memory that are not written yet."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.written_at: RandomCache[tuple[UUID, str], float] = RandomCache(MAX_BUFFERED)
        self.counts: dict[tuple[UUID, str], int] = {}

    def flushable(
        self, device_id: UUID, reasons: Iterable[RejectionReason]
    ) -> list[RejectionReason]:
        """Return the reasons to write now, with the counts from memory added; keep the others."""
        now = time.monotonic()
        found = []
        with self.lock:
            for reason in reasons:
                key = (device_id, reason.code)
                count = self.counts.pop(key, 0) + reason.times
                written_at = self.written_at.get(key)
                if written_at is not None and now - written_at < WRITE_INTERVAL:
                    self.counts[key] = count
                    continue
                self.written_at.set(key, now)
                found.append(reason._replace(times=count))
        return found


_write_buffer = _WriteBuffer()
