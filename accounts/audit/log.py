"""The audit trail: who did what, by what, from where. Append-only; the only writer of its table.

A door says who acts (`acting`, `act_by`), a domain function what is done (`record`), within the
transaction that does it. A trigger refuses every UPDATE, and every DELETE but those made here.
"""

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime, timedelta
from hashlib import blake2b, sha256
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection, transaction
from django.db.models import Model, Q
from django.utils import timezone

from accounts.audit.actions import ACTION_LABELS
from accounts.models import AuditEvent, User, fold
from accounts.tokens import format as token_format

Means = AuditEvent.Means

SENSITIVE_KEYS = re.compile(
    r"pass(word|wd|phrase)|secret|token|hash|psk|api_?key|private_?key", re.I
)
"""Names of values that are in no trail."""
LONGEST_VALUE = 1000
"""Bytes of JSON of a value that is written down as it is."""
FAILED_LOGIN_RETENTION = timedelta(days=90)


class Actor(NamedTuple):
    """Who acts just now, by what, from where."""

    user: Callable[[], Any]
    means: AuditEvent.Means
    means_id: str = ""
    means_name: str = ""
    address: str | None = None


_acting: ContextVar[Actor | None] = ContextVar("acting", default=None)


@contextmanager
def audit_context(
    user: Callable[[], Any], *, means: AuditEvent.Means, name: str = "", address: str | None = None
) -> Iterator[None]:
    """Whoever `user` returns acts in here. It is asked when something is recorded, not before."""
    before = _acting.set(Actor(user, means, means_name=name, address=address))
    try:
        yield
    finally:
        _acting.reset(before)


def set_actor(means: AuditEvent.Means, *, user: User | None, id: object, name: str) -> None:
    """From here on, to the end of what `acting` encloses, it is this that acts; where nothing is
    enclosed, nobody would ever stop to.
    """
    if who := _acting.get():
        _acting.set(who._replace(user=lambda: user, means=means, means_id=str(id), means_name=name))


def acting_address() -> str | None:
    """Return the network address of whoever acts just now."""
    return _current_actor().address


def record(
    action: str,
    *,
    target: Model | None = None,
    name: str = "",
    owner: User | None = None,
    by: User | None = None,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    now: datetime | None = None,
) -> None:
    """Write down that `action` happened to `target`, or to what is only known by `name`.

    It stands in the trail of `owner`, by default whoever the target belongs to; what belongs to
    nobody only staff see. `by` is given where whoever acts has only just proved who they are. Of
    `before` and `after` what differs is kept, without secrets; where both are given and nothing
    differs, nothing happened.
    """
    assert action in ACTION_LABELS, action  # noqa: S101 - a mistake in the code, whatever the request
    if before is not None and after is not None:
        before, after = _diff(before, after)
        if not before and not after:
            return
    who = _current_actor()
    actor = by or who.user()
    actor = actor if isinstance(actor, User) or getattr(actor, "is_authenticated", False) else None
    signed_in = actor or who.means != Means.SESSION
    AuditEvent.objects.create(
        created_at=now or timezone.now(),
        action=action,
        owner_id=owner.pk if owner else _owner_of(target),
        actor_id=actor.pk if actor else None,
        actor_name=actor.get_username() if actor else "",
        means=who.means if signed_in else Means.NOTHING,
        means_id=who.means_id,
        means_name=who.means_name[:128],
        address=who.address,
        target_kind=target._meta.model_name or "" if target else "",
        target_id=str(target.pk) if target else "",
        target_name=token_format.mask_tokens(name or (str(target) if target else ""))[:254],
        before=_kept(before),
        after=_kept(after),
    )


def loggable_username(name: str) -> str:
    """Return what the trail keeps of a name that no account has, which may be a password: its
    first two letters, and a digest by which repeated tries can be told.
    """
    text, key = fold(name), settings.SECRET_KEY.encode()[:64]
    digest = blake2b(text.encode("utf-8", "replace"), digest_size=4, key=key, person=b"audit")
    return f"{text[:2]}… ({digest.hexdigest()})"


def delete_for_user(user: User) -> None:
    """Remove the trail of somebody who has left, and what was tried in their name before they came.

    What they did to others stays in the others' trails, with their name.
    """
    names = Q(target_name__iexact=user.username) | Q(target_name__iexact=user.email)
    names |= Q(target_name__in=[loggable_username(user.username), loggable_username(user.email)])
    _delete(Q(owner=user) | Q(owner=None, target_kind__in=["", "registration"]) & names)


def delete_expired(*, now: datetime) -> int:
    """Remove what is over its age, and count it: AUDIT_DAYS, and 90 for sign-ins that failed."""
    old = Q(created_at__lt=now - timedelta(days=settings.AUDIT_DAYS))
    failed = Q(action="sign_in.failed", created_at__lt=now - FAILED_LOGIN_RETENTION)
    return _delete(old | failed)


def _delete(which: Q) -> int:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT set_config('audit.forgetting', 'on', true)")
        count = AuditEvent.objects.filter(which).delete()[0]
        cursor.execute("SELECT set_config('audit.forgetting', 'off', true)")
    return count


def _current_actor() -> Actor:
    return _acting.get() or _process_actor()


def _process_actor() -> Actor:
    """Where nobody has asked for anything: the worker, or a command that somebody typed."""
    program, command = Path(sys.argv[0]).name, "".join(sys.argv[1:2])
    worker = program == "manage.py" and command in ("worker", "procrastinate")
    means = Means.WORKER if worker else Means.COMMAND_LINE
    return Actor(lambda: None, means, means_name=command if program == "manage.py" else program)


def _owner_of(target: Any) -> UUID | None:
    if isinstance(target, User):
        return target.pk
    if device := getattr(target, "device", None):
        target = device
    found: UUID | None = getattr(target, "user_id", None)
    return found


def _diff(
    before: Mapping[str, Any], after: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return (
        {name: before[name] for name in names if name in before},
        {name: after[name] for name in names if name in after},
    )


def _kept(values: Mapping[str, Any] | None) -> Any:
    """Return what is written down of values: clean, and of a long one its size and digest."""
    if values is None:
        return None
    return {name: _shortened(value) for name, value in _redact(values).items()}


def _shortened(value: Any) -> Any:
    text = json.dumps(value, cls=DjangoJSONEncoder, sort_keys=True).encode()
    if len(text) <= LONGEST_VALUE:
        return value
    return f"{len(text):,} bytes, SHA-256 {sha256(text).hexdigest()[:16]}…"


def _redact(value: Any) -> Any:
    """The same without secrets: neither ours nor what goes by the name of one."""
    if isinstance(value, Mapping):
        return {
            token_format.mask_tokens(str(name)): "…"
            if SENSITIVE_KEYS.search(str(name))
            else _redact(inner)
            for name, inner in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [_redact(inner) for inner in value]
    return token_format.mask_tokens(value) if isinstance(value, str) else value
