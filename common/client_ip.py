"""The IP address of the client of a request."""

from collections.abc import Mapping
from functools import cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from rest_framework.request import Request


def get_client_ip(request: HttpRequest | Request) -> str | None:
    """Return the IP address of the client, or None if it is not a valid address.

    Behind TRUSTED_PROXIES it comes from X-Forwarded-For. The header is read from its end, and only
    as far as trusted proxies wrote it, because clients can forge the part before.
    """
    return client_ip_from_environ(request.META)


def client_ip_from_environ(environ: Mapping[str, Any]) -> str | None:
    """Return the client IP address from a WSGI environ. See `get_client_ip`."""
    client = environ.get("REMOTE_ADDR", "")
    trusted = _networks(tuple(settings.TRUSTED_PROXIES))
    forwarded = environ.get("HTTP_X_FORWARDED_FOR", "").split(",") if trusted else []
    hops = [hop.strip() for hop in forwarded if hop.strip()]
    try:
        while hops and any(ip_address(client) in network for network in trusted):
            client = hops.pop()
        return str(ip_address(client))
    except ValueError:
        return None


@cache
def _networks(names: tuple[str, ...]) -> list[IPv4Network | IPv6Network]:
    return [ip_network(name, strict=False) for name in names]
