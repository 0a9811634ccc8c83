"""Names of the thread pools that work on requests, and how a view chooses one.

A view that does not choose is in the pool of all others (telemetry_site.server.routes). While
many devices send, what takes long gives way to them: it rests longer than it has worked.
"""

import time
from collections.abc import Callable
from typing import TypeVar

PASSWORDS = "passwords"
"""Requests that hash a password when they are sent (POST, PUT, PATCH, DELETE): much CPU, 64 MiB."""
TRANSFERS = "transfers"
"""Requests that read or write a file of readings: many seconds."""

View = TypeVar("View", bound=Callable[..., object])


def in_pool(name: str) -> Callable[[View], View]:
    """Have requests to a view, a function or a class, worked on by this pool."""

    def choose(view: View) -> View:
        view.request_pool = name  # type: ignore[attr-defined]
        return view

    return choose


WINDOW = 0.5
"""Seconds in which requests of devices are counted together."""
MANY, FEW = 25, 3
"""Requests of devices in a window: from MANY on long work gives way to them, until there are fewer
than FEW. With one limit for both, long work that once slows the devices down would then no longer
give way to them.
"""
REST = 3
"""Times as long as a part of long work has taken it rests."""


class _Devices:
    """Requests of devices to this process in the current window, and whether they are many."""

    window = 0
    count = 0
    are_many = False


def _move_on() -> None:
    window = int(time.monotonic() / WINDOW)
    if window != _Devices.window:
        if window > _Devices.window + 1 or _Devices.count < FEW:
            _Devices.are_many = False
        _Devices.window, _Devices.count = window, 0


def note_device() -> None:
    """Count a request of a device."""
    _move_on()
    _Devices.count += 1
    if _Devices.count >= MANY:
        _Devices.are_many = True


def are_devices_sending() -> bool:
    """Return whether devices keep this process so busy that what takes long gives way to them."""
    _move_on()
    return _Devices.are_many


class Rests:
    """Called between parts of long work: rests while devices keep the process busy."""

    def __init__(self) -> None:
        self.begun = time.monotonic()

    def __call__(self) -> None:
        if are_devices_sending():
            time.sleep(REST * (time.monotonic() - self.begun))
        self.begun = time.monotonic()
