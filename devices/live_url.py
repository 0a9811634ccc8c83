"""URL of the live process, where devices and pages wait for events (telemetry_site/live)."""

from urllib.parse import urlsplit

from django.conf import settings


def live_url_for(host: str) -> str | None:
    """Return the URL of the live process for a client that used this host name; None if there is
    no live process.

    Without a proxy it has the same host name and another port. Behind a proxy it is LIVE_URL.
    """
    if settings.LIVE_URL:
        return str(settings.LIVE_URL)
    if settings.HTTPS or not settings.LIVE_PORT:
        return None
    return f"http://{_hostname(host)}:{settings.LIVE_PORT}"


def site_origin(host: str) -> str:
    """Return the origin of the site's pages for a client of the live process at this host name."""
    if settings.LIVE_URL or settings.HTTPS:
        return f"{settings.PUBLIC_URL_PARTS.scheme}://{settings.PUBLIC_URL_PARTS.netloc}"
    return f"http://{_hostname(host)}:{settings.PORT}"


def _hostname(host: str) -> str:
    name = urlsplit(f"//{host}").hostname or ""
    return f"[{name}]" if ":" in name else name
