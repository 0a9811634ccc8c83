"""How passwords are hashed."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from threading import BoundedSemaphore, get_native_id
from typing import TypeVar

from django.contrib.auth.hashers import Argon2PasswordHasher

AT_ONCE = 1
"""Hashes at a time in a process. Each takes 64 MiB and all cores, which devices' readings need."""
PATIENCE = 0.5
"""Seconds that a hash waits for the one before it."""

NICENESS = 10
"""What a hash adds to the niceness of the process (Linux, where threads have one of their own):
it is the only work that takes all cores at once."""
Made = TypeVar("Made")

_turns = BoundedSemaphore(AT_ONCE)


class TooManyHashes(Exception):
    """More passwords came at once than can be hashed in time; nothing was decided."""


@contextmanager
def a_turn() -> Iterator[None]:
    """Wait for one of the AT_ONCE places. Raises TooManyHashes after PATIENCE."""
    if not _turns.acquire(timeout=PATIENCE):
        raise TooManyHashes
    try:
        yield
    finally:
        _turns.release()


@cache
def _thread() -> ThreadPoolExecutor:
    """The thread that hashes. Argon2's own threads take over how nice it is."""
    return ThreadPoolExecutor(AT_ONCE, "hashes", initializer=_be_nice)


def _be_nice() -> None:
    with suppress(OSError, AttributeError):
        niceness = os.getpriority(os.PRIO_PROCESS, 0) + NICENESS
        os.setpriority(os.PRIO_PROCESS, get_native_id(), niceness)


def _hash(work: Callable[[], Made]) -> Made:
    with a_turn():
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
