"""Every limit to what may be sent and how often, as it is in force here: for the help page, and for
docs/limits.md, which `python -m telemetry_site.limits` writes.
"""

import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import NamedTuple

from django.conf import settings
from django.template.defaultfilters import filesizeformat
from django.utils.formats import number_format
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

Words = str | Promise


class Limit(NamedTuple):
    """What is limited, to what, and by which variable of the environment, if by any."""

    what: Words
    most: Words
    variable: str = ""


def groups() -> Iterator[tuple[Words, list[Limit]]]:
    """The limits under their headings."""
    yield _("Requests and readings"), _requests()
    yield _("A payload, metadata, a result"), _json()
    yield _("Commands"), _commands()
    yield _("Lists, charts, streams"), _reading()
    yield _("Devices and tokens"), _devices()
    yield _("Tries"), _tries()


def _requests() -> list[Limit]:
    skew = timedelta(seconds=settings.MAX_CLOCK_SKEW_SECONDS)
    return [
        Limit(_("Body of a request"), size(settings.BODY_LIMIT), "BODY_LIMIT"),
        Limit(
            _("Body that came as gzip or zstd, once it is inflated"),
            size(settings.MAX_DECOMPRESSED_BODY),
            "MAX_DECOMPRESSED_BODY",
        ),
        Limit(_("File of readings"), size(settings.IMPORT_LIMIT), "IMPORT_LIMIT"),
        Limit(
            _("Readings in a request"),
            count(settings.READINGS_PER_REQUEST),
            "READINGS_PER_REQUEST",
        ),
        Limit(
            _("Requests of one user, device or address"),
            rate(settings.REQUESTS_PER_CLIENT),
            "REQUESTS_PER_CLIENT",
        ),
        Limit(
            _("Changes by one user, readings apart"),
            rate(settings.WRITES_PER_USER),
            "WRITES_PER_USER",
        ),
        Limit(
            _("The same over a longer time"),
            rate(settings.WRITES_PER_USER_AND_DAY),
            "WRITES_PER_USER_AND_DAY",
        ),
        Limit(_("File of readings that is exported"), size(settings.EXPORT_LIMIT), "EXPORT_LIMIT"),
        Limit(_("A reading's time ahead of the server's"), span(skew), "MAX_CLOCK_SKEW_SECONDS"),
    ]


def _json() -> list[Limit]:
    from common import strict_json

    return [
        Limit(_("All of it, without spaces"), size(settings.PAYLOAD_LIMIT), "PAYLOAD_LIMIT"),
        Limit(_("Values in it"), count(strict_json.LEAF_LIMIT)),
        Limit(_("Objects and lists within one another"), count(strict_json.DEPTH_LIMIT)),
        Limit(_("Characters of a key"), count(strict_json.KEY_LIMIT)),
        Limit(_("A whole number that stays exact"), f"± {count(strict_json.INTEGER_LIMIT)}"),
    ]


def _commands() -> list[Limit]:
    from commands import models
    from commands import services as command_services
    from commands.batches import services as batches

    return [
        Limit(
            _("Commands that wait for one device"),
            count(settings.PENDING_COMMANDS_PER_DEVICE),
            "PENDING_COMMANDS_PER_DEVICE",
        ),
        Limit(_("Devices that one command is sent to"), count(batches.DEVICES_LIMIT)),
        Limit(_("Commands handed out at once"), count(command_services.CLAIM_LIMIT)),
        Limit(_("Time to answer until one is handed out again"), span(command_services.LEASE)),
        Limit(_("Times that one is handed out"), count(models.MAX_ATTEMPTS)),
        Limit(_("Longest time that one may wait"), span(command_services.LONGEST_LIFE)),
    ]


def _reading() -> list[Limit]:
    from commands.api import LONGEST_WAIT
    from devices.models import METADATA_KEYS_LIMIT
    from telemetry.queries import series
    from telemetry_site.api.pagination import KeysetPagination
    from telemetry_site.live import connection_limits, long_polls, requests
    from telemetry_site.middleware import http

    return [
        Limit(_("Parameters in an address"), count(http.PARAMETERS_LIMIT)),
        Limit(_("Keys of metadata that devices are searched by"), count(METADATA_KEYS_LIMIT)),
        Limit(_("Entries on a page of a list"), count(KeysetPagination.max_page_size)),
        Limit(_("Values in one chart request"), count(series.KEYS_LIMIT)),
        Limit(_("Points of each"), count(series.POINTS_LIMIT)),
        Limit(_("Longest wait for a command"), span(timedelta(seconds=LONGEST_WAIT))),
        Limit(_("Streams of events of one person"), count(connection_limits.STREAMS_PER_USER)),
        Limit(_("Devices that a stream may name"), count(requests.DEVICES_NAMED)),
        Limit(
            _("Requests of one device that wait for commands"), count(long_polls.POLLS_PER_DEVICE)
        ),
        Limit(
            _("Waiting devices and pages of one user"),
            count(settings.LIVE_CONNECTIONS_PER_USER),
            "LIVE_CONNECTIONS_PER_USER",
        ),
        Limit(
            _("Waiting devices and pages of one client address"),
            count(settings.LIVE_CONNECTIONS_PER_ADDRESS),
            "LIVE_CONNECTIONS_PER_ADDRESS",
        ),
        Limit(
            _("Devices and pages that wait in all"),
            count(settings.LIVE_CONNECTIONS),
            "LIVE_CONNECTIONS",
        ),
    ]


def _devices() -> list[Limit]:
    from accounts.tokens import services as tokens
    from devices import services as device_services

    return [
        Limit(
            _("Values of a device that are charted"),
            count(settings.KEYS_PER_DEVICE),
            "KEYS_PER_DEVICE",
        ),
        Limit(_("Devices of a user"), count(settings.DEVICES_PER_USER), "DEVICES_PER_USER"),
        Limit(_("Tokens of a user"), count(settings.TOKENS_PER_USER), "TOKENS_PER_USER"),
        Limit(_("Tokens of a device"), count(settings.TOKENS_PER_DEVICE), "TOKENS_PER_DEVICE"),
        Limit(
            _("How long the old token works beside a new one"), span(device_services.ROTATION_GRACE)
        ),
        Limit(_("Longest life of a person's token"), span(tokens.MAX_LIFETIME)),
        Limit(_("Sessions of a user"), count(settings.SESSIONS_PER_USER), "SESSIONS_PER_USER"),
    ]


def _tries() -> list[Limit]:
    told = {
        "sign-in": _("Passwords for one name from one address"),
        "sign-in-address": _("Passwords for any name from one address"),
        "sign-in-name": _("Failed sign-ins for one name from all addresses"),
        "sign-in-slowed": _("Sign-ins for that name from one address after that"),
        "password": _("Passwords that somebody signed in is asked for"),
        "password-check": _("Correct passwords of one user, from all addresses"),
        "password-check-address": _("Passwords checked for one address"),
        "second-factor": _("Wrong codes of the second factor of one user"),
        "second-factor-day": _("The same over a longer time"),
        "second-factor-mail": _("Mails to one user about wrong codes"),
        "recovery-code": _("Wrong recovery codes of one user"),
        "register": _("Registrations from one address"),
        "mail": _("Mails to one mailbox, asked for from one address"),
        "mail-client": _("Mails asked for from one address"),
        "mail-address": _("Mails to one mailbox"),
        "mail-slowed": _("Mails to that mailbox, asked for from one address, after that"),
        "invitation": _("Invitations by one member of staff"),
        "idempotency-key": _("Requests of one device with an Idempotency-Key"),
    }
    tries = [
        Limit(
            told[name],
            rate((times, seconds)),
            f"{name.upper().replace('-', '_')}_LIMIT",
        )
        for name, (times, seconds) in settings.RATE_LIMITS.items()
    ]
    factors = [
        Limit(
            _("All addresses of one IPv6 /%(bits)d, compared with one address") % {"bits": bits},
            _("%(factor)s times as many") % {"factor": count(factor)},
            f"IPV6_{bits}_FACTOR",
        )
        for bits, factor in ((56, settings.IPV6_56_FACTOR), (48, settings.IPV6_48_FACTOR))
    ]
    return [*tries, *factors]


def rate(limit: tuple[int, int]) -> str:
    """In words: 10 in 15 minutes."""
    times, seconds = limit
    return _("%(times)s in %(span)s") % {
        "times": count(times),
        "span": span(timedelta(0, seconds)),
    }


def size(amount: int) -> str:
    return filesizeformat(amount).replace("\N{NO-BREAK SPACE}", " ")


def count(number: int) -> str:
    return str(number_format(number, force_grouping=True))


def span(length: timedelta) -> str:
    """In words, in the largest unit that it is a whole number of: 90 minutes, 30 days."""
    seconds = int(length.total_seconds())
    if seconds % (365 * 86_400) == 0:
        years = seconds // (365 * 86_400)
        return ngettext("%(count)d year", "%(count)d years", years) % {"count": years}
    if seconds % 86_400 == 0:
        days = seconds // 86_400
        return ngettext("%(count)d day", "%(count)d days", days) % {"count": days}
    if seconds % 3600 == 0:
        hours = seconds // 3600
        return ngettext("%(count)d hour", "%(count)d hours", hours) % {"count": hours}
    if seconds % 60 == 0:
        minutes = seconds // 60
        return ngettext("%(count)d minute", "%(count)d minutes", minutes) % {"count": minutes}
    return ngettext("%(count)d second", "%(count)d seconds", seconds) % {"count": seconds}


def markdown() -> str:
    """All of it, for the docs."""
    lines = [
        "# Limits",
        "",
        "What is over a limit is refused with a problem document that says which; nothing of it is "
        "kept. A variable of",
        "the environment (or of `.env`) sets another limit. This page is written from the settings "
        "by `make schema`.",
    ]
    for title, limits in groups():
        lines += ["", f"## {title}", "", "| | at most | variable |", "|---|---|---|"]
        lines += [
            f"| {limit.what} | {limit.most} | {f'`{limit.variable}`' if limit.variable else ''} |"
            for limit in limits
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    import django

    django.setup()
    sys.stdout.write(markdown())
