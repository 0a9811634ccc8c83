"""Where a request comes from."""

from collections.abc import Mapping
from functools import cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from rest_framework.request import Request


def get_client_ip(request: HttpRequest | Request) -> str | None:
    """The address of whoever asks; of one of the TRUSTED_PROXIES, that of whoever asked it.

    X-Forwarded-For is read from its end, where our own proxies have written, and only as far as
    they have: what stands before that anybody can make up. None where it is no address at all.
    """
    return client_ip_from_environ(request.META)


def client_ip_from_environ(environ: Mapping[str, Any]) -> str | None:
    """Return the same of a WSGI environ."""
    seen = environ.get("REMOTE_ADDR", "")
    trusted = _networks(tuple(settings.TRUSTED_PROXIES))
    told = environ.get("HTTP_X_FORWARDED_FOR", "").split(",") if trusted else []
    hops = [hop.strip() for hop in told if hop.strip()]
    try:
        while hops and any(ip_address(seen) in one for one in trusted):
            seen = hops.pop()
        return str(ip_address(seen))
    except ValueError:
        return None


@cache
def _networks(names: tuple[str, ...]) -> list[IPv4Network | IPv6Network]:
    return [ip_network(name, strict=False) for name in names]
