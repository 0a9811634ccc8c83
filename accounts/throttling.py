"""Rate limits: counters in the database, shared by all processes.

A window begins with the first attempt and expires. Usernames and addresses are stored as digests.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from hashlib import blake2b
from ipaddress import IPv6Address, IPv6Network, ip_address
from math import ceil
from typing import Any, NamedTuple

from django.conf import settings
from django.db import connection
from django.db.models import Q

from accounts.models import Throttle, User, fold

INCREMENT_SQL = """
INSERT INTO throttles AS t (key, about, tries, ends_at)
VALUES (%(key)s, %(about)s, 1, %(ends_at)s)
ON CONFLICT (key) DO UPDATE SET
    tries = CASE WHEN t.ends_at <= %(now)s THEN 1 ELSE t.tries + 1 END,
    ends_at = CASE WHEN t.ends_at <= %(now)s THEN excluded.ends_at ELSE t.ends_at END
RETURNING tries, ends_at
"""
DECREMENT_SQL = "UPDATE throttles SET tries = tries - 1 WHERE key = %(key)s AND tries > 0"


class RateLimitExceeded(Exception):
    """A rate limit is exceeded: its name, and the seconds until its window ends."""

    def __init__(self, limit: str, retry_after: int) -> None:
        super().__init__(f"{limit}: again in {retry_after} s")
        self.limit = limit
        self.retry_after = retry_after


class RateLimit(NamedTuple):
    """A rate limit of one subject.

    `limit` is the name of the limit in settings.RATE_LIMITS. `key_parts` identify the subject.
    `protects` is the user or e-mail address that the limit protects; `clear_lockout` finds the
    counter by it. `factor` multiplies the limit for a network of many clients. `fallback` is
    consumed instead if this limit is exceeded.
    """

    limit: str
    key_parts: tuple[str, ...]
    protects: str | None = None
    factor: int = 1
    fallback: "RateLimit | None" = None

    @property
    def key(self) -> bytes:
        """A keyed digest (32 bytes), which does not reveal usernames or addresses."""
        return _digest(self.limit, *self.key_parts)


def consume(counters: Sequence[RateLimit], *, now: datetime) -> None:
    """Count an attempt, before it is made, so that concurrent attempts cannot exceed the limit.

    A limit that unknown clients can exhaust has a `fallback` per client. Raises RateLimitExceeded
    for the first exceeded limit; the limits after it are not counted.
    """
    for counter in counters:
        try:
            _count(counter, now)
        except RateLimitExceeded:
            if counter.fallback is None:
                raise
            _count(counter.fallback, now)


def _count(counter: RateLimit, now: datetime) -> None:
    times, seconds = settings.RATE_LIMITS[counter.limit]
    params: dict[str, Any] = {
        "key": counter.key,
        "about": counter.protects and _digest(counter.protects),
        "now": now,
        "ends_at": now + timedelta(seconds=seconds),
    }
    with connection.cursor() as cursor:
        cursor.execute(INCREMENT_SQL, params)
        tries, ends_at = cursor.fetchone()
    if tries > times * counter.factor:
        raise RateLimitExceeded(counter.limit, max(1, ceil((ends_at - now).total_seconds())))


def refund(counters: Sequence[RateLimit]) -> None:
    """Subtract an attempt that has succeeded."""
    with connection.cursor() as cursor:
        for counter in counters:
            cursor.execute(DECREMENT_SQL, {"key": counter.key})


def reset(counters: Sequence[RateLimit]) -> None:
    """Delete these counters."""
    Throttle.objects.filter(key__in=[counter.key for counter in counters]).delete()


def is_exhausted(counter: RateLimit, *, now: datetime) -> bool:
    """Return whether the next attempt would be rejected."""
    return Throttle.objects.filter(_exhausted(counter), ends_at__gt=now).exists()


def refund_login(counters: Sequence[RateLimit]) -> None:
    """Subtract a successful sign-in, and reset the counter of this client and name."""
    *network_limits, own_limit, name_limit = counters
    reset([own_limit, *filter(None, [name_limit.fallback])])
    refund([*network_limits, name_limit])


def is_locked_out(user: User, *, now: datetime) -> bool:
    """Return whether a limit of sign-ins, passwords or codes of the user is exhausted.

    Another client may have exhausted it with the user's name.
    """
    names = Q(about__in=[_digest(user.username), _digest(user.email)])
    exhausted = names & Q(tries__gte=settings.RATE_LIMITS["sign-in"][0])
    for counter in [
        *password_limits(user.pk),
        password_check_limit(user.pk),
        *code_limits(user.pk),
    ]:
        exhausted |= _exhausted(counter)
    return Throttle.objects.filter(exhausted, ends_at__gt=now).exists()


def clear_lockout(user: User) -> None:
    """Delete the counters of the user for all clients, including those of mails."""
    names = (user.username, user.email)
    emails = [user.email, *filter(None, [user.pending_email])]
    subjects = [*names, *map(_login_subject, names), *map(_mail_subject, emails)]
    counters = [*password_limits(user.pk), password_check_limit(user.pk)]
    counters += [*code_limits(user.pk), recovery_code_limit(user.pk)]
    keys = [counter.key for counter in counters]
    Throttle.objects.filter(Q(about__in=map(_digest, subjects)) | Q(key__in=keys)).delete()


def delete_expired(now: datetime) -> int:
    """Delete expired counters; return the number."""
    return Throttle.objects.filter(ends_at__lte=now).delete()[0]


def networks(ip: str | None) -> dict[str, int]:
    """Return the networks of a client, the narrowest first, each with the factor of its limit.

    An IPv4 address is one client. Providers assign an IPv6 client at least a /64, often a /56 or a
    /48.
    """
    if ip is None:
        return {"": 1}
    address = ip_address(ip)
    if isinstance(address, IPv6Address) and not address.ipv4_mapped:
        factors = {64: 1, 56: settings.IPV6_56_FACTOR, 48: settings.IPV6_48_FACTOR}
        return {str(IPv6Network((address, bits), strict=False)): n for bits, n in factors.items()}
    return {str(getattr(address, "ipv4_mapped", None) or address): 1}


def client_network(ip: str | None) -> str:
    """Return the network that counts as one client: an IPv4 address or an IPv6 /64."""
    return next(iter(networks(ip)))


def customer_network(ip: str | None) -> str:
    """Return the network of one customer of a provider: an IPv4 address or an IPv6 /56.

    A /48 is often shared by many customers.
    """
    return list(networks(ip))[:2][-1]


def client_limits(limit: str, ip: str | None) -> list[RateLimit]:
    """Return the limits of a client for its networks, independent of usernames."""
    return [RateLimit(limit, (net,), factor=factor) for net, factor in networks(ip).items()]


def login_limits(name: str, ip: str | None) -> list[RateLimit]:
    """Return the limits of a sign-in attempt: per client, per name and client, per name.

    A client over its own limit is rejected first, so that it adds no counters of names.
    If the limit of a name for all clients is exhausted, each client still has one attempt in a
    longer window. That slows down an attacker with many IP addresses, and the owner, who knows the
    password, can still sign in.
    """
    subject = _login_subject(name)
    fallback = RateLimit("sign-in-slowed", (name, customer_network(ip)), subject)
    return [
        *client_limits("sign-in-address", ip),
        RateLimit("sign-in", (name, client_network(ip)), protects=name),
        RateLimit("sign-in-name", (name,), subject, fallback=fallback),
    ]


def _login_subject(name: str) -> str:
    return f"{name} from all clients"


def registration_limits(email: str, ip: str | None) -> list[RateLimit]:
    """Return the limits of a registration: per client, of password hashing, and of mails."""
    return [
        *client_limits("register", ip),
        *client_limits("password-check-address", ip),
        *mail_limits(email, ip),
    ]


def mail_limits(email: str, ip: str | None) -> list[RateLimit]:
    """Return the limits of a mail that clients can request without authentication.

    An e-mail address gets few mails per client, and more from all clients. If the latter limit is
    exhausted, each client can still request one mail in a longer window. Otherwise an attacker
    could prevent the owner from receiving any. A client over its own limit adds no counters.
    """
    subject = _mail_subject(email)
    return [
        *client_limits("mail-client", ip),
        *(RateLimit("mail", (email, net), subject, n) for net, n in networks(ip).items()),
        _mailbox_limit(email, customer_network(ip)),
    ]


def staff_mail_limits(email: str, staff_id: object) -> list[RateLimit]:
    """Return the limits of a mail that only staff can request."""
    return [_mailbox_limit(email, str(staff_id))]


def _mailbox_limit(email: str, sender: str) -> RateLimit:
    subject = _mail_subject(email)
    fallback = RateLimit("mail-slowed", (email, sender), subject)
    return RateLimit("mail-address", (email,), subject, fallback=fallback)


def _mail_subject(email: str) -> str:
    return f"mail to {email}"


def password_limits(user_id: object) -> list[RateLimit]:
    """Return the limits of password confirmations of a signed-in user."""
    return [RateLimit("password", (str(user_id),))]


def registration_password_limits(email: str) -> list[RateLimit]:
    """Return the limits of password checks for a registration with this e-mail address."""
    return [RateLimit("password", ("registration", email))]


def password_check_limit(user_id: object) -> RateLimit:
    """Return the limit of correct passwords of a user."""
    return RateLimit("password-check", (str(user_id),))


def code_limits(user_id: object) -> list[RateLimit]:
    """Return the limits of authenticator codes of a user: in a short window and per day."""
    return [
        RateLimit("second-factor", (str(user_id),)),
        RateLimit("second-factor-day", (str(user_id),)),
    ]


def recovery_code_limit(user_id: object) -> RateLimit:
    """Return the limit of recovery codes of a user."""
    return RateLimit("recovery-code", (str(user_id),))


def code_mail_limits(user_id: object) -> list[RateLimit]:
    """Return the limits of mails about wrong codes."""
    return [RateLimit("second-factor-mail", (str(user_id),))]


def idempotency_key_limits(device_id: object) -> list[RateLimit]:
    """Return the limits of requests of a device with an Idempotency-Key."""
    return [RateLimit("idempotency-key", (str(device_id),))]


def invitation_limits(user_id: object) -> list[RateLimit]:
    """Return the limits of invitations by a staff user."""
    return [RateLimit("invitation", (str(user_id),))]


def _exhausted(counter: RateLimit) -> Q:
    maximum = settings.RATE_LIMITS[counter.limit][0] * counter.factor
    return Q(key=counter.key, tries__gte=maximum)


def _digest(*parts: str) -> bytes:
    text = "\0".join(fold(part) for part in parts)
    key = settings.SECRET_KEY.encode()[:64]
    return blake2b(text.encode("utf-8", "replace"), digest_size=32, key=key).digest()
