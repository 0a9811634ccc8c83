"""Mailed and one-time links between two requests: opening one takes its secret out of the URL.

The session keeps only the digest of the secret, so that a copy of the sessions opens no link.
"""

from django.http import HttpRequest

from accounts.tokens import format as token_format


def keep(request: HttpRequest, name: str, secret: str) -> None:
    """Keep the digest of a secret that was found to be good."""
    request.session[name] = token_format.PlaintextToken(secret).digest.hex()


def kept(request: HttpRequest, name: str) -> bytes:
    """Return the digest that is kept, or no bytes, which open nothing."""
    try:
        return bytes.fromhex(request.session.get(name, ""))
    except ValueError:
        # Kept as text, by an earlier version.
        return b""


def forget(request: HttpRequest, name: str) -> None:
    """Keep nothing any more."""
    request.session.pop(name, None)
