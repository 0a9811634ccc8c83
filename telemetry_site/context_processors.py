"""Template variables of all pages."""

from django.http import HttpRequest

from devices import live_url

NO_LIVE_PREFIXES = ("/api/", "/admin/")
"""Paths whose pages receive no events."""


def live_url_context(request: HttpRequest) -> dict[str, str | None]:
    """Return the URL of the live process for pages of signed-in users."""
    user = getattr(request, "user", None)
    has_events = (
        user is not None and user.is_authenticated and not request.path.startswith(NO_LIVE_PREFIXES)
    )
    return {"live_url": live_url.live_url_for(request.get_host()) if has_events else None}
