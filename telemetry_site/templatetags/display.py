"""How numbers, times and JSON look to people, in their language. `live.js` and `history.js` say
them the same way.
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
LONGEST_AGE = 30 * DAY
"""Seconds; what is older is told by its date."""
ONE_LINE = 100
"""Characters of JSON that are read at a glance."""


@register.filter
def value(measured: Any, decimals: int | None = None) -> str:
    """A value as a device sent it: a number with these decimals, or at most four; texts as they
    are.
    """
    if isinstance(measured, bool) or measured is None:
        return {True: "true", False: "false", None: "null"}[measured]
    if isinstance(measured, int | float):
        return _number(measured, decimals)
    return measured if isinstance(measured, str) else json_inline(measured)


@register.filter
def with_unit(found: Any, how: DisplayFormat) -> SafeString:
    """A value with its decimals and its unit: degrees at once, any other after a narrow space."""
    _, unit, decimals = how.of(found)
    text = value(found, decimals)
    if unit in ("", "°"):
        return format_html("{}{}", text, unit)
    return format_html('{}<span class="unit">\N{NARROW NO-BREAK SPACE}{}</span>', text, unit)


@register.filter
def json_inline(anything: Any) -> str:
    """JSON on one line."""
    return json.dumps(anything, ensure_ascii=False)


@register.filter
def json_pretty(anything: Any) -> str:
    """JSON over several lines."""
    return json.dumps(anything, ensure_ascii=False, indent=2)


@register.filter
def json_auto(anything: Any) -> str:
    """JSON on one line where it is short, else over several."""
    line = json_inline(anything)
    return line if len(line) <= ONE_LINE else json_pretty(anything)


@register.filter
def time_ago(time: datetime) -> SafeString:
    """A `<time>` with how long ago it was; the instant itself is in its title."""
    return format_html(
        '<time datetime="{}" title="{}" data-ago>{}</time>',
        time.isoformat(),
        f"{timezone.localtime(time):%Y-%m-%d %H:%M:%S %Z}",
        ago(time, timezone.now()),
    )


@register.simple_tag
def js_messages() -> str:
    """What scripts say on any page, as JSON; `{…}` are blanks that they fill."""
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
    """How long before `now`, or how long until then, in one unit."""
    seconds = (now - time).total_seconds()
    size = abs(seconds)
    if size >= LONGEST_AGE:
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
        return _written(f"{number:.3g}")
    if decimals is not None:
        return _grouped(number, decimals)
    text = _grouped(number, 4 if size < 1 else 3 if size < 10 else 2 if size < 1000 else 1)
    sign = get_format("DECIMAL_SEPARATOR")
    return text.rstrip("0").rstrip(sign) if sign in text else text


def _grouped(number: float, decimals: int) -> str:
    return _written(f"{number:z,.{decimals}f}")


def _written(number: str) -> str:
    """A number as the language writes it; thousands are apart in all of them."""
    narrow, sign = "\N{NARROW NO-BREAK SPACE}", get_format("DECIMAL_SEPARATOR")
    return number.translate({ord(","): narrow, ord("."): sign})
