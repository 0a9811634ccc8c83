"""A job that is told to stop, without a process."""

from collections.abc import Callable
from itertools import count


def after(calls: int) -> Callable[[], bool]:
    """A `should_stop` that is false so many times, and true from then on."""
    asked = count(1)
    return lambda: next(asked) > calls
