"""What every page may show."""

from django.http import HttpRequest

from devices import live_url

NO_LIVE_PREFIXES = ("/api/", "/admin/")
"""Where nothing is listened to."""


def live_url_context(request: HttpRequest) -> dict[str, str | None]:
    """Where pages of somebody who is signed in hear of events."""
    user = getattr(request, "user", None)
    listens = (
        user is not None and user.is_authenticated and not request.path.startswith(NO_LIVE_PREFIXES)
    )
    return {"live_url": live_url.live_url_for(request.get_host()) if listens else None}
