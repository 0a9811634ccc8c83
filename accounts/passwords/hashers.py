"""The password hasher, with limits on concurrency and priority."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from threading import BoundedSemaphore, get_native_id
from typing import TypeVar

from django.contrib.auth.hashers import Argon2PasswordHasher

MAX_CONCURRENT_HASHES = 1
"""Per process. Each hash takes 64 MiB and all cores, which the ingest of readings needs too."""
SLOT_TIMEOUT_SECONDS = 0.5

NICENESS = 10
"""Added to the niceness of the process for hashing, the only work that uses all cores at once.

Linux only, where each thread has its own niceness.
"""
T = TypeVar("T")

_slots = BoundedSemaphore(MAX_CONCURRENT_HASHES)


class PasswordHashingBusy(Exception):
    """Too many concurrent hashes. The password was not checked."""


@contextmanager
def hashing_slot() -> Iterator[None]:
    """Wait for a hashing slot. Raises PasswordHashingBusy after SLOT_TIMEOUT_SECONDS."""
    if not _slots.acquire(timeout=SLOT_TIMEOUT_SECONDS):
        raise PasswordHashingBusy
    try:
        yield
    finally:
        _slots.release()


@cache
def _executor() -> ThreadPoolExecutor:
    """Return the executor for hashing. Argon2's threads inherit the niceness of its thread."""
    return ThreadPoolExecutor(MAX_CONCURRENT_HASHES, "hashes", initializer=_lower_priority)


def _lower_priority() -> None:
    with suppress(OSError, AttributeError):
        niceness = os.getpriority(os.PRIO_PROCESS, 0) + NICENESS
        os.setpriority(os.PRIO_PROCESS, get_native_id(), niceness)


def _hash(work: Callable[[], T]) -> T:
    with hashing_slot():
        return _executor().submit(work).result()


class Argon2idHasher(Argon2PasswordHasher):
    """Argon2id with 64 MiB, three passes, four lanes (RFC 9106, second recommended option)."""

    memory_cost = 64 * 1024
    time_cost = 3
    parallelism = 4

    def encode(self, password: str, salt: str) -> str:
        encode = super().encode
        return _hash(lambda: encode(password, salt))

    def verify(self, password: str, encoded: str) -> bool:
        verify = super().verify
        return _hash(lambda: verify(password, encoded))
