"""Where the process is reached that lets devices and pages wait (telemetry_site/live)."""

from urllib.parse import urlsplit

from django.conf import settings


def live_url_for(host: str) -> str | None:
    """Its address for whoever reached the site as `host`; None where there is none.

    On one machine it has the host's name and a port of its own. Behind a proxy LIVE_URL says it.
    """
    if settings.LIVE_URL:
        return str(settings.LIVE_URL)
    if settings.HTTPS or not settings.LIVE_PORT:
        return None
    return f"http://{_name(host)}:{settings.LIVE_PORT}"


def site_origin(host: str) -> str:
    """The origin of pages of the site, for whoever reached the live process as `host`."""
    if settings.LIVE_URL or settings.HTTPS:
        return f"{settings.PUBLIC_URL_PARTS.scheme}://{settings.PUBLIC_URL_PARTS.netloc}"
    return f"http://{_name(host)}:{settings.PORT}"


def _name(host: str) -> str:
    name = urlsplit(f"//{host}").hostname or ""
    return f"[{name}]" if ":" in name else name
