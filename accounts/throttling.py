"""How often something may be tried: counters in the database, shared by all processes.

A window begins with the first try and ends by itself. What is counted is stored as a digest only.
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
    """A limit is used up for now; `limit` is its name, `retry_after` the seconds until its end."""

    def __init__(self, limit: str, retry_after: int) -> None:
        super().__init__(f"{limit}: again in {retry_after} s")
        self.limit = limit
        self.retry_after = retry_after


class RateLimit(NamedTuple):
    """One limit (a name in settings.RATE_LIMITS) of whoever or whatever `of` is; `about` is whom it
    keeps out, if it is somebody who can be let in again. `factor` is how many times the limit of
    one client a network of many may use up. `slowed` counts instead once this one is used up.
    """

    limit: str
    of: tuple[str, ...]
    about: str | None = None
    factor: int = 1
    slowed: "RateLimit | None" = None

    @property
    def key(self) -> bytes:
        """32 bytes; nobody reads a name or an address out of them."""
        return _digest(self.limit, *self.of)


def consume(counters: Sequence[RateLimit], *, now: datetime) -> None:
    """Count a try. It is counted before it is made, so that none of many at once slips through.

    Where strangers can use a counter up, it names another one, `slowed`, that only one client
    uses. Raises TooManyTries for the first counter that is used up; the ones after it are not
    counted.
    """
    for counter in counters:
        try:
            _count(counter, now)
        except RateLimitExceeded:
            if counter.slowed is None:
                raise
            _count(counter.slowed, now)


def _count(counter: RateLimit, now: datetime) -> None:
    times, seconds = settings.RATE_LIMITS[counter.limit]
    given: dict[str, Any] = {
        "key": counter.key,
        "about": counter.about and _digest(counter.about),
        "now": now,
        "ends_at": now + timedelta(seconds=seconds),
    }
    with connection.cursor() as cursor:
        cursor.execute(INCREMENT_SQL, given)
        tries, ends_at = cursor.fetchone()
    if tries > times * counter.factor:
        raise RateLimitExceeded(counter.limit, max(1, ceil((ends_at - now).total_seconds())))


def refund(counters: Sequence[RateLimit]) -> None:
    """Uncount a try that turned out to be somebody who may."""
    with connection.cursor() as cursor:
        for counter in counters:
            cursor.execute(DECREMENT_SQL, {"key": counter.key})


def reset(counters: Sequence[RateLimit]) -> None:
    """Begin anew for these."""
    Throttle.objects.filter(key__in=[counter.key for counter in counters]).delete()


def is_used_up(counter: RateLimit, *, now: datetime) -> bool:
    """Return whether the next try would be refused."""
    return Throttle.objects.filter(_used_up(counter), ends_at__gt=now).exists()


def give_back_sign_in(counters: Sequence[RateLimit]) -> None:
    """Uncount a try to sign in that succeeded: this client's tries begin anew."""
    first, *of_networks, of_name = counters
    reset([first, *filter(None, [of_name.slowed])])
    refund([*of_networks, of_name])


def is_locked_out(user: User, *, now: datetime) -> bool:
    """Whether the user has tried too often to sign in, or to give their password or a code, and
    from where that was has to wait now. Somebody else may have tried in their name.
    """
    names = Q(about__in=[_digest(user.username), _digest(user.email)])
    used_up = names & Q(tries__gte=settings.RATE_LIMITS["sign-in"][0])
    for counter in [*password_limits(user.pk), of_password_check(user.pk), *of_codes(user.pk)]:
        used_up |= _used_up(counter)
    return Throttle.objects.filter(used_up, ends_at__gt=now).exists()


def clear_lockout(user: User) -> None:
    """Let the user try again, wherever they come from, and be mailed to again."""
    names = (user.username, user.email)
    addresses = [user.email, *filter(None, [user.pending_email])]
    about = [*names, *map(_of_all_clients, names), *map(_mail_to, addresses)]
    counters = [*password_limits(user.pk), of_password_check(user.pk)]
    counters += [*of_codes(user.pk), of_recovery_code(user.pk)]
    keys = [counter.key for counter in counters]
    Throttle.objects.filter(Q(about__in=map(_digest, about)) | Q(key__in=keys)).delete()


def delete_expired(now: datetime) -> int:
    """Remove the windows that are over; how many there were."""
    return Throttle.objects.filter(ends_at__lte=now).delete()[0]


def networks(address: str | None) -> dict[str, int]:
    """Return the networks that a client is counted by, the narrowest first, and how many times the
    limit of one client each may use up.

    An IPv4 address is one client. An IPv6 client is given a /64 whole, and often a /56 or a /48.
    """
    if address is None:
        return {"": 1}
    ip = ip_address(address)
    if isinstance(ip, IPv6Address) and not ip.ipv4_mapped:
        factors = {64: 1, 56: settings.IPV6_56_FACTOR, 48: settings.IPV6_48_FACTOR}
        return {str(IPv6Network((ip, bits), strict=False)): n for bits, n in factors.items()}
    return {str(getattr(ip, "ipv4_mapped", None) or ip): 1}


def client_network(address: str | None) -> str:
    """Return what counts as one client: an IPv4 address, or an IPv6 /64."""
    return next(iter(networks(address)))


def customer_network(address: str | None) -> str:
    """Return what one customer of a provider has: an IPv4 address, or an IPv6 /56. A /48 often
    belongs to many customers.
    """
    return list(networks(address))[:2][-1]


def of_client(limit: str, address: str | None) -> list[RateLimit]:
    """What is counted of a client, whoever it names."""
    return [RateLimit(limit, (net,), factor=factor) for net, factor in networks(address).items()]


def login_limits(name: str, address: str | None) -> list[RateLimit]:
    """What a try to sign in is counted by: the name with the client, the client alone, the name
    alone.

    Once the tries for a name from all clients together are used up, each client still has one try
    in a while. That slows down a guesser with many addresses, and the owner, who knows the
    password, can still sign in.
    """
    about = _of_all_clients(name)
    slowed = RateLimit("sign-in-slowed", (name, customer_network(address)), about)
    return [
        RateLimit("sign-in", (name, client_network(address)), about=name),
        *of_client("sign-in-address", address),
        RateLimit("sign-in-name", (name,), about, slowed=slowed),
    ]


def _of_all_clients(name: str) -> str:
    return f"{name} from all clients"


def registration_limits(email: str, address: str | None) -> list[RateLimit]:
    """What a try to register is counted by: the client's address, the hash of the password, and
    what is mailed.
    """
    return [
        *of_client("register", address),
        *of_client("password-check-address", address),
        *mail_limits(email, address),
    ]


def mail_limits(email: str, address: str | None) -> list[RateLimit]:
    """What a mail that anybody may cause is counted by. An address gets few of them from one
    client, so that nobody is flooded, and more from all. Once those are used up, each client still
    has one in a while, so that no stranger keeps the owner from getting any.
    """
    about = _mail_to(email)
    return [
        *(RateLimit("mail", (email, net), about, n) for net, n in networks(address).items()),
        *of_client("mail-client", address),
        _of_mailbox(email, customer_network(address)),
    ]


def staff_mail_limits(email: str, staff_id: object) -> list[RateLimit]:
    """What a mail that only staff may cause is counted by."""
    return [_of_mailbox(email, str(staff_id))]


def _of_mailbox(email: str, sender: str) -> RateLimit:
    about = _mail_to(email)
    slowed = RateLimit("mail-slowed", (email, sender), about)
    return RateLimit("mail-address", (email,), about, slowed=slowed)


def _mail_to(email: str) -> str:
    return f"mail to {email}"


def password_limits(user_id: object) -> list[RateLimit]:
    """What asking somebody who is signed in for their password is counted by."""
    return [RateLimit("password", (str(user_id),))]


def of_registered_password(email: str) -> list[RateLimit]:
    """What asking for the password of a registration with this address is counted by."""
    return [RateLimit("password", ("registration", email))]


def of_password_check(user_id: object) -> RateLimit:
    """What the right passwords of a user are counted by."""
    return RateLimit("password-check", (str(user_id),))


def of_codes(user_id: object) -> list[RateLimit]:
    """What the codes of a user's authenticator are counted by: in a short time, and a day."""
    return [
        RateLimit("second-factor", (str(user_id),)),
        RateLimit("second-factor-day", (str(user_id),)),
    ]


def of_recovery_code(user_id: object) -> RateLimit:
    """What the recovery codes of a user are counted by."""
    return RateLimit("recovery-code", (str(user_id),))


def of_mail_about_codes(user_id: object) -> list[RateLimit]:
    """What the mails that tell a user of wrong codes are counted by."""
    return [RateLimit("second-factor-mail", (str(user_id),))]


def of_idempotency_key(device_id: object) -> list[RateLimit]:
    """Return what counts the requests of a device that bring an Idempotency-Key."""
    return [RateLimit("idempotency-key", (str(device_id),))]


def invitation_limits(user_id: object) -> list[RateLimit]:
    """What the invitations of a member of staff are counted by."""
    return [RateLimit("invitation", (str(user_id),))]


def _used_up(counter: RateLimit) -> Q:
    most = settings.RATE_LIMITS[counter.limit][0] * counter.factor
    return Q(key=counter.key, tries__gte=most)


def _digest(*parts: str) -> bytes:
    text = "\0".join(fold(part) for part in parts)
    secret = settings.SECRET_KEY.encode()[:64]
    return blake2b(text.encode("utf-8", "replace"), digest_size=32, key=secret).digest()
