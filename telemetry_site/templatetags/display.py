"""Filters that format numbers, times and JSON in the user's language. `live.js` and `history.js`
use the same formats.
"""

import json
from datetime import datetime
from typing import Any

from django import template
from django.utils import timezone
from django.utils.formats import date_format, get_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from telemetry.keys.registry import DisplayFormat

register = template.Library()

MINUTE, HOUR, DAY = 60, 3600, 24 * 3600
MAX_AGE_SECONDS = 30 * DAY
"""Older times are displayed as a date."""
MAX_INLINE_LENGTH = 100
"""Characters of JSON on one line."""


@register.filter
def value(measured: Any, decimals: int | None = None) -> str:
    """Return a value of a reading as text: a number with `decimals`, or with at most four; a string
    unchanged.
    """
    if isinstance(measured, bool) or measured is None:
        return {True: "true", False: "false", None: "null"}[measured]
    if isinstance(measured, int | float):
        return _number(measured, decimals)
    return measured if isinstance(measured, str) else json_inline(measured)


@register.filter
def with_unit(measured: Any, display: DisplayFormat) -> SafeString:
    """Return a value with its decimals and unit, with a narrow space before the unit except °."""
    _, unit, decimals = display.for_value(measured)
    text = value(measured, decimals)
    if unit in ("", "°"):
        return format_html("{}{}", text, unit)
    return format_html('{}<span class="unit">\N{NARROW NO-BREAK SPACE}{}</span>', text, unit)


@register.filter
def json_inline(anything: Any) -> str:
    """Return JSON on one line."""
    return json.dumps(anything, ensure_ascii=False)


@register.filter
def json_pretty(anything: Any) -> str:
    """Return JSON on several lines."""
    return json.dumps(anything, ensure_ascii=False, indent=2)


@register.filter
def json_auto(anything: Any) -> str:
    """Return JSON on one line if it is short, otherwise on several."""
    line = json_inline(anything)
    return line if len(line) <= MAX_INLINE_LENGTH else json_pretty(anything)


@register.filter
def time_ago(time: datetime) -> SafeString:
    """Return a `<time>` element with the age of the time; its title is the exact time."""
    return format_html(
        '<time datetime="{}" title="{}" data-ago>{}</time>',
        time.isoformat(),
        f"{timezone.localtime(time):%Y-%m-%d %H:%M:%S %Z}",
        ago(time, timezone.now()),
    )


@register.simple_tag
def js_messages() -> str:
    """Return the texts of the scripts of all pages, as JSON; the scripts fill the placeholders."""
    return json.dumps(
        {
            "now": _("now"),
            "ago": _("{time} ago"),
            "in": _("in {time}"),
            "show": _("Show"),
            "hide": _("Hide"),
            "copied": _("Copied"),
            "selected": _("Selected"),
            "object": _("Must be a JSON object."),
        },
        ensure_ascii=False,
    )


def ago(time: datetime, now: datetime) -> str:
    """Return how long ago the time was, or how long until then, in one unit."""
    seconds = (now - time).total_seconds()
    size = abs(seconds)
    if size >= MAX_AGE_SECONDS:
        return date_format(timezone.localtime(time), "DATE_FORMAT")
    if size < 1:
        return _("now")
    unit, name = next(
        (unit, name)
        for unit, name in [(DAY, "d"), (HOUR, "h"), (MINUTE, "min"), (1, "s")]
        if size >= unit
    )
    count = int(size // unit)
    words = _("{time} ago") if seconds > 0 else _("in {time}")
    return words.format(time=f"{count} {name}")


def _number(number: float, decimals: int | None) -> str:
    size = abs(number)
    if size >= 1e15 or (decimals is None and 0 < size < 0.00005):
        return _localized(f"{number:.3g}")
    if decimals is not None:
        return _grouped(number, decimals)
    text = _grouped(number, 4 if size < 1 else 3 if size < 10 else 2 if size < 1000 else 1)
    sign = get_format("DECIMAL_SEPARATOR")
    return text.rstrip("0").rstrip(sign) if sign in text else text


def _grouped(number: float, decimals: int) -> str:
    return _localized(f"{number:z,.{decimals}f}")


def _localized(number: str) -> str:
    """Return the number with the separators of the language; thousands are always separated."""
    narrow, sign = "\N{NARROW NO-BREAK SPACE}", get_format("DECIMAL_SEPARATOR")
    return number.translate({ord(","): narrow, ord("."): sign})
