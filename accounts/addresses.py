"""Where a request comes from."""

from ipaddress import ip_address

from django.http import HttpRequest


def of(request: HttpRequest) -> str | None:
    """The address of whoever sent the request; None where the server knows none."""
    try:
        return str(ip_address(request.META.get("REMOTE_ADDR", "")))
    except ValueError:
        return None
