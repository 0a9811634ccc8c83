"""A cache of a fixed size that degrades gently."""

import random
from threading import Lock
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class RandomCache(Generic[Key, Value]):
    """Holds at most `size` values; a further one takes the place of one chosen at random.

    Clients that come in turn defeat a cache that drops its oldest or its least recently used
    value: with a tenth more clients than places nobody is found. Here nearly all of them are.
    `cachetools.RRCache` (6.2) does the same, but readers need a lock: if one thread drops a value
    that another asks for, that one gets a KeyError. Here readers take none.
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
                    place = random.randrange(self.size)  # noqa: S311 - no secret
                    del self._values[self._keys[place]]
                    self._keys[place] = key
            self._values[key] = value

    def clear(self) -> None:
        """Drop all values."""
        with self._lock:
            self._values.clear()
            self._keys.clear()

    def __len__(self) -> int:
        return len(self._keys)
