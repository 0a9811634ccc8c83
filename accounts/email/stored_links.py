"""Tokens of mailed and one-time links, moved from the URL to the session.

The session stores only the digest of the token, so that a copy of the sessions exposes no tokens.
"""

from django.http import HttpRequest

from accounts.tokens import format as token_format


def store(request: HttpRequest, name: str, secret: str) -> None:
    """Store the digest of a valid token."""
    request.session[name] = token_format.PlaintextToken(secret).digest.hex()


def get_digest(request: HttpRequest, name: str) -> bytes:
    """Return the stored digest, or no bytes, which match no token."""
    try:
        return bytes.fromhex(request.session.get(name, ""))
    except ValueError:
        # An earlier version stored the token as text.
        return b""


def clear(request: HttpRequest, name: str) -> None:
    """Remove the stored digest."""
    request.session.pop(name, None)
