"""The audit trail: actor, action, authentication method, IP address. The only writer of its table.

Middleware and authentication classes set the actor (`audit_context`, `set_actor`). Service
functions record each action (`record`) in the transaction of the change. The table is append-only:
a trigger rejects every UPDATE, and every DELETE except those of this module.
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
"""Names of values that are never recorded."""
MAX_VALUE_BYTES = 1000
"""Of a value with longer JSON, only the size and a digest are recorded."""
FAILED_LOGIN_RETENTION = timedelta(days=90)


class Actor(NamedTuple):
    """The user who acts, the authentication method with its credential, and the IP address."""

    user: Callable[[], Any]
    auth_method: AuditEvent.Means
    credential_id: str = ""
    credential_name: str = ""
    ip_address: str | None = None


_actor: ContextVar[Actor | None] = ContextVar("actor", default=None)


@contextmanager
def audit_context(
    user: Callable[[], Any],
    *,
    auth_method: AuditEvent.Means,
    name: str = "",
    ip_address: str | None = None,
) -> Iterator[None]:
    """Set the actor for the enclosed block. `user` is called only when an action is recorded."""
    token = _actor.set(Actor(user, auth_method, credential_name=name, ip_address=ip_address))
    try:
        yield
    finally:
        _actor.reset(token)


def set_actor(auth_method: AuditEvent.Means, *, user: User | None, id: object, name: str) -> None:
    """Set the actor for the rest of the enclosing `audit_context`.

    Outside one it does nothing, because the actor would never be reset.
    """
    if actor := _actor.get():
        _actor.set(
            actor._replace(
                user=lambda: user,
                auth_method=auth_method,
                credential_id=str(id),
                credential_name=name,
            )
        )


def current_ip_address() -> str | None:
    """Return the IP address of the current actor."""
    return _current_actor().ip_address


def record(
    action: str,
    *,
    target: Model | None = None,
    name: str = "",
    owner: User | None = None,
    actor: User | None = None,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    now: datetime | None = None,
) -> None:
    """Record that `action` happened to `target`, or to an object of which only `name` is known.

    The event belongs to the trail of `owner`, by default the owner of the target. An event without
    an owner is visible to staff only. Pass `actor` if the user was authenticated in this request.
    Of `before` and `after`, only the values that differ are stored, without secrets. If both are
    given and nothing differs, no event is stored.
    """
    assert action in ACTION_LABELS, action  # noqa: S101 - only a bug in the code can fail this
    if before is not None and after is not None:
        before, after = _diff(before, after)
        if not before and not after:
            return
    current = _current_actor()
    user = actor or current.user()
    user = user if isinstance(user, User) or getattr(user, "is_authenticated", False) else None
    signed_in = user or current.auth_method != Means.SESSION
    AuditEvent.objects.create(
        created_at=now or timezone.now(),
        action=action,
        owner_id=owner.pk if owner else _owner_of(target),
        actor_id=user.pk if user else None,
        actor_name=user.get_username() if user else "",
        means=current.auth_method if signed_in else Means.ANONYMOUS,
        means_id=current.credential_id,
        means_name=current.credential_name[:128],
        address=current.ip_address,
        target_kind=target._meta.model_name or "" if target else "",
        target_id=str(target.pk) if target else "",
        target_name=token_format.mask_tokens(name or (str(target) if target else ""))[:254],
        before=_loggable(before),
        after=_loggable(after),
    )


def loggable_username(name: str) -> str:
    """Return the form in which a username without an account is recorded: two letters and a digest.

    The text may be a password that was typed into the wrong field. The digest shows repeated
    attempts with the same text.
    """
    text, key = fold(name), settings.SECRET_KEY.encode()[:64]
    digest = blake2b(text.encode("utf-8", "replace"), digest_size=4, key=key, person=b"audit")
    return f"{text[:2]}… ({digest.hexdigest()})"


def delete_for_user(user: User) -> None:
    """Delete the trail of a deleted user, and earlier failed attempts with their name or e-mail.

    Events in the trails of other users stay, with the deleted user's name as actor.
    """
    names = Q(target_name__iexact=user.username) | Q(target_name__iexact=user.email)
    names |= Q(target_name__in=[loggable_username(user.username), loggable_username(user.email)])
    _delete(Q(owner=user) | Q(owner=None, target_kind__in=["", "registration"]) & names)


def delete_expired(*, now: datetime) -> int:
    """Delete expired events: after AUDIT_DAYS, failed sign-ins after 90 days. Return the number."""
    old = Q(created_at__lt=now - timedelta(days=settings.AUDIT_DAYS))
    failed = Q(action="sign_in.failed", created_at__lt=now - FAILED_LOGIN_RETENTION)
    return _delete(old | failed)


def _delete(condition: Q) -> int:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT set_config('audit.forgetting', 'on', true)")
        count = AuditEvent.objects.filter(condition).delete()[0]
        cursor.execute("SELECT set_config('audit.forgetting', 'off', true)")
    return count


def _current_actor() -> Actor:
    return _actor.get() or _process_actor()


def _process_actor() -> Actor:
    """Return the actor outside a request: the worker or a management command."""
    program, command = Path(sys.argv[0]).name, "".join(sys.argv[1:2])
    worker = program == "manage.py" and command in ("worker", "procrastinate")
    auth_method = Means.WORKER if worker else Means.COMMAND_LINE
    name = command if program == "manage.py" else program
    return Actor(lambda: None, auth_method, credential_name=name)


def _owner_of(target: Any) -> UUID | None:
    if isinstance(target, User):
        return target.pk
    if device := getattr(target, "device", None):
        target = device
    owner_id: UUID | None = getattr(target, "user_id", None)
    return owner_id


def _diff(
    before: Mapping[str, Any], after: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return (
        {name: before[name] for name in names if name in before},
        {name: after[name] for name in names if name in after},
    )


def _loggable(values: Mapping[str, Any] | None) -> Any:
    """Return values without secrets, and long values as their size and digest."""
    if values is None:
        return None
    return {name: _shortened(value) for name, value in _redact(values).items()}


def _shortened(value: Any) -> Any:
    text = json.dumps(value, cls=DjangoJSONEncoder, sort_keys=True).encode()
    if len(text) <= MAX_VALUE_BYTES:
        return value
    return f"{len(text):,} bytes, SHA-256 {sha256(text).hexdigest()[:16]}…"


def _redact(value: Any) -> Any:
    """Return `value` with tokens masked and the values of SENSITIVE_KEYS removed."""
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
