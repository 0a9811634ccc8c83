"""How passwords are hashed."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from threading import BoundedSemaphore, get_native_id
from typing import TypeVar

from django.contrib.auth.hashers import Argon2PasswordHasher

MAX_CONCURRENT_HASHES = 1
"""Hashes at a time in a process. Each takes 64 MiB and all cores, which devices' readings need."""
SLOT_TIMEOUT_SECONDS = 0.5
"""Seconds that a hash waits for the one before it."""

NICENESS = 10
"""What a hash adds to the niceness of the process (Linux, where threads have one of their own):
it is the only work that takes all cores at once."""
Made = TypeVar("Made")

_slots = BoundedSemaphore(MAX_CONCURRENT_HASHES)


class PasswordHashingBusy(Exception):
    """More passwords came at once than can be hashed in time; nothing was decided."""


@contextmanager
def hashing_slot() -> Iterator[None]:
    """Wait for one of the AT_ONCE places. Raises TooManyHashes after PATIENCE."""
    if not _slots.acquire(timeout=SLOT_TIMEOUT_SECONDS):
        raise PasswordHashingBusy
    try:
        yield
    finally:
        _slots.release()


@cache
def _thread() -> ThreadPoolExecutor:
    """The thread that hashes. Argon2's own threads take over how nice it is."""
    return ThreadPoolExecutor(MAX_CONCURRENT_HASHES, "hashes", initializer=_be_nice)


def _be_nice() -> None:
    with suppress(OSError, AttributeError):
        niceness = os.getpriority(os.PRIO_PROCESS, 0) + NICENESS
        os.setpriority(os.PRIO_PROCESS, get_native_id(), niceness)


def _hash(work: Callable[[], Made]) -> Made:
    with hashing_slot():
        return _thread().submit(work).result()


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
