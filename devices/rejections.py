"""What a device sent and was refused: counted by reason, where its owner sees it.

Only a refusal costs anything, and no wait for the disk: a count that a power cut loses is no
promise broken. What is answered 429 is counted in memory for a second first, or to send somebody
away would cost as much as to let them in.
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
PAUSE = 1.0
"""Seconds between two writes about one device that is sent away for coming too often."""
MAX_BUFFERED = 10_000
TEXT_LIMIT = 500
"""Characters of a place or a sentence, which may quote what was sent."""

UPSERT_SQL = """
    INSERT INTO device_refusals
        (device_id, code, status, count, pointer, detail, request_id, last_at)
    SELECT %(device)s, code, %(status)s, count, pointer, detail, %(request_id)s, %(now)s
    FROM unnest(%(codes)s::text[], %(counts)s::bigint[], %(pointers)s::text[], %(details)s::text[])
            AS sent(code, count, pointer, detail),
        (SELECT set_config('synchronous_commit', 'off', true)) AS without_waiting
    ORDER BY code
    ON CONFLICT (device_id, code) DO UPDATE SET
        count = device_refusals.count + EXCLUDED.count, status = EXCLUDED.status,
        pointer = EXCLUDED.pointer, detail = EXCLUDED.detail,
        request_id = EXCLUDED.request_id, last_at = EXCLUDED.last_at
"""


class RejectionReason(NamedTuple):
    """Why, how often in one request, and the last place and sentence."""

    code: str
    times: int
    pointer: str
    detail: str


def group_errors(faults: Iterable[JSONError]) -> list[RejectionReason]:
    """The faults of one request, put together by code."""
    found: dict[str, RejectionReason] = {}
    for fault in faults:
        times = found[fault.code].times if fault.code in found else 0
        found[fault.code] = RejectionReason(fault.code, times + 1, fault.pointer, fault.detail)
    return list(found.values())


def record(
    device_id: UUID, why: Iterable[RejectionReason], *, status: int, request_id: str, now: datetime
) -> None:
    """Count what was refused. To be called outside of any transaction.

    If it cannot be counted, the log says so: the answer stays the same.
    """
    if status == TOO_MANY_REQUESTS:
        why = _held_back.due(device_id, why)
    sent = [
        one._replace(pointer=_storable(one.pointer), detail=_storable(one.detail)) for one in why
    ]
    if not sent:
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
                    "codes": [one.code for one in sent],
                    "counts": [one.times for one in sent],
                    "pointers": [one.pointer for one in sent],
                    "details": [one.detail for one in sent],
                },
            )
    except Error as error:
        logger.warning("a refusal of device %s is not counted: %s", device_id, error)


def for_device(device: Device) -> RefusalQuerySet:
    """What was refused of this device, the newest first."""
    return Refusal.objects.filter(device=device).order_by("-last_at", "code")


def _storable(text: str) -> str:
    """Without what PostgreSQL takes in no text."""
    return text[:TEXT_LIMIT].encode(errors="backslashreplace").decode().replace("\0", "\\u0000")


class _WriteBuffer:
    """Counts that wait for their next write."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.written: RandomCache[tuple[UUID, str], float] = RandomCache(MAX_BUFFERED)
        self.counts: dict[tuple[UUID, str], int] = {}

    def due(self, device_id: UUID, why: Iterable[RejectionReason]) -> list[RejectionReason]:
        """What is to be written now, with all that was held back of it."""
        now = time.monotonic()
        found = []
        with self.lock:
            for one in why:
                key = (device_id, one.code)
                count = self.counts.pop(key, 0) + one.times
                written = self.written.get(key)
                if written is not None and now - written < PAUSE:
                    self.counts[key] = count
                    continue
                self.written.set(key, now)
                found.append(one._replace(times=count))
        return found


_held_back = _WriteBuffer()
