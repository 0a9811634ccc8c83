"""Wait in a test, with a generous limit that only a failing test reaches."""

import time
from collections.abc import Callable
from typing import Any

TIMEOUT_SECONDS = 120


def wait_until(condition: Callable[[], Any], expected: str) -> None:
    """Return when the condition is true; `expected` says what it waits for."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not within {TIMEOUT_SECONDS} s: {expected}"
        time.sleep(0.001)
