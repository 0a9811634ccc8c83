"""Names of the thread pools that handle requests, and how a view chooses one.

The server chooses the pool of all other views (telemetry_site.server.routes). While many devices
send, long requests pause for longer than they have worked, so that devices get the CPU.
"""

import time
from collections.abc import Callable
from typing import TypeVar

PASSWORDS = "passwords"
"""Requests whose unsafe methods (POST, PUT, PATCH, DELETE) hash a password: much CPU, 64 MiB."""
TRANSFERS = "transfers"
"""Requests that import or export a file of readings: they take many seconds."""

View = TypeVar("View", bound=Callable[..., object])


def in_pool(name: str) -> Callable[[View], View]:
    """Decorate a view, a function or a class, so that this pool handles its requests."""

    def choose(view: View) -> View:
        view.request_pool = name  # type: ignore[attr-defined]
        return view

    return choose


WINDOW_SECONDS = 0.5
"""Seconds of the window in which requests of devices are counted."""
BUSY_THRESHOLD, QUIET_THRESHOLD = 25, 3
"""Requests of devices in a window. From BUSY_THRESHOLD on long requests pause, until a window has
fewer than QUIET_THRESHOLD. With one threshold for both, long requests that slow the devices down
would then no longer pause for them.
"""
PAUSE_FACTOR = 3
"""A long request pauses for this many times the time that its last part took."""


class _DeviceLoad:
    """Requests of devices to this process in the current window."""

    window = 0
    count = 0
    is_busy = False


def _advance_window() -> None:
    window = int(time.monotonic() / WINDOW_SECONDS)
    if window != _DeviceLoad.window:
        if window > _DeviceLoad.window + 1 or _DeviceLoad.count < QUIET_THRESHOLD:
            _DeviceLoad.is_busy = False
        _DeviceLoad.window, _DeviceLoad.count = window, 0


def record_device_request() -> None:
    """Count a request of a device."""
    _advance_window()
    _DeviceLoad.count += 1
    if _DeviceLoad.count >= BUSY_THRESHOLD:
        _DeviceLoad.is_busy = True


def are_devices_sending() -> bool:
    """Return whether devices send so many requests that long requests pause for them."""
    _advance_window()
    return _DeviceLoad.is_busy


class PauseForDevices:
    """Call between the parts of a long request: it pauses while many devices send."""

    def __init__(self) -> None:
        self.started = time.monotonic()

    def __call__(self) -> None:
        if are_devices_sending():
            time.sleep(PAUSE_FACTOR * (time.monotonic() - self.started))
        self.started = time.monotonic()
