"""How passwords are hashed."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore

from django.contrib.auth.hashers import Argon2PasswordHasher

AT_ONCE = 1
"""Hashes at a time in a process. Each takes 64 MiB and all cores, which devices' readings need."""
PATIENCE = 0.5
"""Seconds that a hash waits for the one before it."""

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


class Argon2idHasher(Argon2PasswordHasher):
    """Argon2id with 64 MiB, three passes, four lanes (RFC 9106, second recommended option)."""

    memory_cost = 64 * 1024
    time_cost = 3
    parallelism = 4

    def encode(self, password: str, salt: str) -> str:
        with a_turn():
            return super().encode(password, salt)

    def verify(self, password: str, encoded: str) -> bool:
        with a_turn():
            return super().verify(password, encoded)
