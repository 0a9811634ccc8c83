"""Stop conditions for jobs that run without a worker process."""

from collections.abc import Callable
from itertools import count


def stop_after(calls: int) -> Callable[[], bool]:
    """Return a `should_stop` that is false for this number of calls and true afterwards."""
    numbers = count(1)
    return lambda: next(numbers) > calls
