"""Names of the thread pools that work on requests, and how a view chooses one.

A view that does not choose is in the pool of all others (telemetry_site.server.routes).
"""

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
