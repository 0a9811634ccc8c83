"""Where a request comes from."""

from ipaddress import ip_address

from django.conf import settings
from django.http import HttpRequest


def of(request: HttpRequest) -> str | None:
    """The address of whoever asks: as seen by the outermost of TRUSTED_PROXIES proxies.

    What stands further left in X-Forwarded-For anybody can write, and is not believed. None where
    it is no address at all.
    """
    hops = [request.META.get("REMOTE_ADDR", "")]
    if settings.TRUSTED_PROXIES:
        told = request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")
        hops = [*(hop.strip() for hop in told if hop.strip()), *hops]
    seen = hops[-1 - min(settings.TRUSTED_PROXIES, len(hops) - 1)]
    try:
        return str(ip_address(seen))
    except ValueError:
        return None
