"""All limits of requests and rates with their current values: for the help page, and for
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

Text = str | Promise


class Limit(NamedTuple):
    """A limit: its description, its value, and the environment variable that sets it, if any."""

    what: Text
    most: Text
    variable: str = ""


def groups() -> Iterator[tuple[Text, list[Limit]]]:
    """Yield the limits by heading."""
    yield _("Requests and readings"), _requests()
    yield _("Payloads, metadata, results"), _json()
    yield _("Commands"), _commands()
    yield _("Lists, charts, event streams"), _reading()
    yield _("Devices and tokens"), _devices()
    yield _("Attempts and rate limits"), _rate_limits()


def _requests() -> list[Limit]:
    skew = timedelta(seconds=settings.MAX_CLOCK_SKEW_SECONDS)
    return [
        Limit(_("Request body"), size(settings.BODY_LIMIT), "BODY_LIMIT"),
        Limit(
            _("Compressed body (gzip, zstd), after decompression"),
            size(settings.MAX_DECOMPRESSED_BODY),
            "MAX_DECOMPRESSED_BODY",
        ),
        Limit(_("Import file"), size(settings.IMPORT_LIMIT), "IMPORT_LIMIT"),
        Limit(
            _("Readings in a request"),
            count(settings.READINGS_PER_REQUEST),
            "READINGS_PER_REQUEST",
        ),
        Limit(
            _("Requests from one user, device or IP address"),
            rate(settings.REQUESTS_PER_CLIENT),
            "REQUESTS_PER_CLIENT",
        ),
        Limit(
            _("Changes by one user, not counting readings"),
            rate(settings.WRITES_PER_USER),
            "WRITES_PER_USER",
        ),
        Limit(
            _("The same, over a longer period"),
            rate(settings.WRITES_PER_USER_AND_DAY),
            "WRITES_PER_USER_AND_DAY",
        ),
        Limit(_("Export file"), size(settings.EXPORT_LIMIT), "EXPORT_LIMIT"),
        Limit(
            _("Timestamp of a reading ahead of the server's clock"),
            span(skew),
            "MAX_CLOCK_SKEW_SECONDS",
        ),
    ]


def _json() -> list[Limit]:
    from common import strict_json

    return [
        Limit(_("Size without whitespace"), size(settings.PAYLOAD_LIMIT), "PAYLOAD_LIMIT"),
        Limit(_("Number of values"), count(strict_json.LEAF_LIMIT)),
        Limit(_("Nesting depth"), count(strict_json.DEPTH_LIMIT)),
        Limit(_("Key length in characters"), count(strict_json.KEY_LIMIT)),
        Limit(_("Largest exact integer"), f"± {count(strict_json.INTEGER_LIMIT)}"),
    ]


def _commands() -> list[Limit]:
    from commands import models
    from commands import services as command_services
    from commands.batches import services as batches

    return [
        Limit(
            _("Pending commands per device"),
            count(settings.PENDING_COMMANDS_PER_DEVICE),
            "PENDING_COMMANDS_PER_DEVICE",
        ),
        Limit(_("Devices per bulk command"), count(batches.DEVICES_LIMIT)),
        Limit(_("Commands delivered per request"), count(command_services.CLAIM_LIMIT)),
        Limit(
            _("Time for a result before a command is delivered again"), span(command_services.LEASE)
        ),
        Limit(_("Delivery attempts per command"), count(models.MAX_ATTEMPTS)),
        Limit(_("Maximum time until a command expires"), span(command_services.MAX_TTL)),
    ]


def _reading() -> list[Limit]:
    from commands.api import MAX_WAIT_SECONDS
    from devices.models import METADATA_KEYS_LIMIT
    from telemetry.queries import series
    from telemetry_site.api.pagination import KeysetPagination
    from telemetry_site.live import connection_limits, long_polls, requests
    from telemetry_site.middleware import http

    return [
        Limit(_("Query parameters in a URL"), count(http.MAX_QUERY_PARAMETERS)),
        Limit(_("Metadata keys in a device filter"), count(METADATA_KEYS_LIMIT)),
        Limit(_("Entries per page"), count(KeysetPagination.max_page_size)),
        Limit(_("Series per chart request"), count(series.KEYS_LIMIT)),
        Limit(_("Points per series"), count(series.POINTS_LIMIT)),
        Limit(
            _("Maximum wait for a command (long polling)"),
            span(timedelta(seconds=MAX_WAIT_SECONDS)),
        ),
        Limit(_("Event streams per user"), count(connection_limits.MAX_STREAMS_PER_USER)),
        Limit(_("Devices per event stream"), count(requests.MAX_DEVICES_PER_STREAM)),
        Limit(
            _("Long-polling requests per device"),
            count(long_polls.MAX_POLLS_PER_DEVICE),
        ),
        Limit(
            _("Open live connections per user"),
            count(settings.LIVE_CONNECTIONS_PER_USER),
            "LIVE_CONNECTIONS_PER_USER",
        ),
        Limit(
            _("Open live connections per client IP address"),
            count(settings.LIVE_CONNECTIONS_PER_ADDRESS),
            "LIVE_CONNECTIONS_PER_ADDRESS",
        ),
        Limit(
            _("Open live connections in total"),
            count(settings.LIVE_CONNECTIONS),
            "LIVE_CONNECTIONS",
        ),
    ]


def _devices() -> list[Limit]:
    from accounts.tokens import services as tokens
    from devices import services as device_services

    return [
        Limit(
            _("Charted values per device"),
            count(settings.KEYS_PER_DEVICE),
            "KEYS_PER_DEVICE",
        ),
        Limit(_("Devices per user"), count(settings.DEVICES_PER_USER), "DEVICES_PER_USER"),
        Limit(_("Tokens per user"), count(settings.TOKENS_PER_USER), "TOKENS_PER_USER"),
        Limit(_("Tokens per device"), count(settings.TOKENS_PER_DEVICE), "TOKENS_PER_DEVICE"),
        Limit(
            _("Time that the old token works after the new one is first used"),
            span(device_services.ROTATION_GRACE),
        ),
        Limit(_("Maximum lifetime of a user's token"), span(tokens.MAX_LIFETIME)),
        Limit(_("Sessions per user"), count(settings.SESSIONS_PER_USER), "SESSIONS_PER_USER"),
    ]


def _rate_limits() -> list[Limit]:
    descriptions = {
        "sign-in": _("Password attempts for one username from one IP address"),
        "sign-in-address": _("Password attempts for any username from one IP address"),
        "sign-in-name": _("Failed sign-ins for one username from all IP addresses"),
        "sign-in-slowed": _("Sign-ins for that username from one IP address after that"),
        "password": _("Password confirmations while signed in"),
        "password-check": _("Correct passwords of one user from all IP addresses"),
        "password-check-address": _("Password checks for one IP address"),
        "second-factor": _("Wrong two-factor codes of one user"),
        "second-factor-day": _("The same, over a longer period"),
        "second-factor-mail": _("E-mails to one user about wrong codes"),
        "recovery-code": _("Wrong recovery codes of one user"),
        "register": _("Registrations from one IP address"),
        "mail": _("E-mails to one mailbox, requested from one IP address"),
        "mail-client": _("E-mails requested from one IP address"),
        "mail-address": _("E-mails to one mailbox"),
        "mail-slowed": _("E-mails to that mailbox, requested from one IP address after that"),
        "invitation": _("Invitations by one staff user"),
        "idempotency-key": _("Requests with an Idempotency-Key from one device"),
    }
    tries = [
        Limit(
            descriptions[name],
            rate((times, seconds)),
            f"{name.upper().replace('-', '_')}_LIMIT",
        )
        for name, (times, seconds) in settings.RATE_LIMITS.items()
    ]
    factors = [
        Limit(
            _("All IP addresses of one IPv6 /%(bits)d, compared with one IP address")
            % {"bits": bits},
            _("%(factor)s times as many") % {"factor": count(factor)},
            f"IPV6_{bits}_FACTOR",
        )
        for bits, factor in ((56, settings.IPV6_56_FACTOR), (48, settings.IPV6_48_FACTOR))
    ]
    return [*tries, *factors]


def rate(limit: tuple[int, int]) -> str:
    """Return the rate as text: 10 in 15 minutes."""
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
    """Return the time as text, in the largest unit without a fraction: 90 minutes, 30 days."""
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
    """Return all limits as Markdown."""
    lines = [
        "# Limits",
        "",
        "Requests over a limit are rejected with a problem document that names the limit; nothing "
        "is stored. An environment",
        "variable (or a line in `.env`) changes a limit. `make schema` writes this page from the "
        "settings.",
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
