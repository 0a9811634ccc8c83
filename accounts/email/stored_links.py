"""Tokens of mailed and one-time links, moved from the URL to the session.

The session stores only the digest of the token, so that a copy of the sessions exposes no tokens.

A session stores one link of each name. If a user opens a second link in another tab, the form in
the first tab still belongs to the first link. Therefore each form contains a prefix of the digest.
"""

from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render

from accounts.tokens import format as token_format

LINK_FIELD = "link"
"""Form field that contains a prefix of the digest of the link that the form belongs to."""
PREFIX_LENGTH = 16


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


def belongs_to_other_link(request: HttpRequest, name: str) -> bool:
    """Return whether the form of this request belongs to another link than the stored one.

    A form without LINK_FIELD is from a page of an earlier version and is accepted.
    """
    current, posted = _get_prefix(request, name), request.POST.get(LINK_FIELD, "")
    return bool(current and posted) and posted != current


def get_form_data(request: HttpRequest, name: str) -> QueryDict | None:
    """Return the data of a POST, or None if its form belongs to another link."""
    is_used = request.method == "POST" and not belongs_to_other_link(request, name)
    return request.POST if is_used else None


def render_form(
    request: HttpRequest,
    name: str,
    template: str,
    context: dict[str, Any],
    form: forms.Form | None = None,
) -> HttpResponse:
    """Render the page of the stored link, with a message if the form belongs to another link."""
    other_link = belongs_to_other_link(request, name)
    context |= {"form": form, "link": _get_prefix(request, name), "other_link": other_link}
    status = 409 if other_link else 422 if form is not None and form.is_bound else 200
    return render(request, template, context, status=status)


def _get_prefix(request: HttpRequest, name: str) -> str:
    return get_digest(request, name).hex()[:PREFIX_LENGTH]
