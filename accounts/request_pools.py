"""Names of the thread pools that work on requests, and how a view chooses one.

A view that does not choose is in the pool of all others (telemetry_site.server.routes). While
devices send, what takes long gives way to them: it rests as long as it has worked.
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


SENDING_FOR = 0.5
"""Seconds after a request of a device for which devices are taken to be sending."""


class _Devices:
    last_request = float("-inf")


def note_device() -> None:
    """Note that a device has sent a request to this process."""
    _Devices.last_request = time.monotonic()


def are_devices_sending() -> bool:
    """Return whether a device has just sent a request to this process."""
    return time.monotonic() - _Devices.last_request < SENDING_FOR


class Rests:
    """Called between parts of long work: while devices send, sleeps as long as the last took."""

    def __init__(self) -> None:
        self.begun = time.monotonic()

    def __call__(self) -> None:
        if are_devices_sending():
            time.sleep(time.monotonic() - self.begun)
        self.begun = time.monotonic()
