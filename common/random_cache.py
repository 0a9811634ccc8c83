"""A cache of a fixed size with random replacement."""

import random
from threading import Lock
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class RandomCache(Generic[Key, Value]):
    """Holds at most `size` values. A further value replaces a random one.

    If clients take turns and there are a tenth more of them than entries, every lookup in a cache
    that drops the oldest or the least recently used value misses. Here most lookups hit.
    `cachetools.RRCache` (6.2) does the same, but its readers need a lock: a reader gets a KeyError
    if another thread drops the value. Here readers need no lock.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._values: dict[Key, Value] = {}
        self._keys: list[Key] = []
        self._lock = Lock()

    def get(self, key: Key) -> Value | None:
        """Return the value of a key, or None."""
        return self._values.get(key)

    def set(self, key: Key, value: Value) -> None:
        """Store a value; with a size of 0 nothing is stored."""
        if self.size <= 0:
            return
        with self._lock:
            if key not in self._values:
                if len(self._keys) < self.size:
                    self._keys.append(key)
                else:
                    index = random.randrange(self.size)  # noqa: S311 - no secret
                    del self._values[self._keys[index]]
                    self._keys[index] = key
            self._values[key] = value

    def clear(self) -> None:
        """Drop all values."""
        with self._lock:
            self._values.clear()
            self._keys.clear()

    def __len__(self) -> int:
        return len(self._keys)
