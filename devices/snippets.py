"""Example programs for a device, with URL, device id and token filled in."""

from typing import NamedTuple

import segno
from django.conf import settings
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from devices.models import Device

LANGUAGES = {
    "curl": "curl",
    "python": "Python",
    "micropython": "MicroPython",
    "arduino": "Arduino",
}
NO_TOKEN = "YOUR_TOKEN"  # noqa: S105 - a placeholder


class Snippet(NamedTuple):
    """A program that sends one reading, or readings in a loop."""

    name: str
    language: str
    text: str


def render_snippets(device: Device, token: str = NO_TOKEN) -> list[Snippet]:
    """Return the example program in each language."""
    context = {"device": device, "token": token, "site": settings.PUBLIC_URL}
    return [
        Snippet(name, language, render_to_string(f"devices/snippets/{name}.txt", context).strip())
        for name, language in LANGUAGES.items()
    ]


def token_qr_svg(token: str) -> SafeString:
    """Return the token as a QR code, an inline SVG."""
    code = segno.make(token, error="m", micro=False)
    svg = code.svg_inline(border=2, light="#fff", svgclass="qr", lineclass=None, omitsize=True)
    return SafeString(svg)
