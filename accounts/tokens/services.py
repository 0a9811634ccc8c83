"""User tokens: issue, look up, consume, rotate, revoke. The only writer of `tokens`.

`revoke` and `record_use` also serve device tokens.
"""

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q

from accounts.audit import log as audit
from accounts.models import AccessEnded, StoredSecret, Token, User, active_tokens
from accounts.tokens import format as token_format
from common import quotas

Scope = Token.Scope
Access = Token.Access
PREFIXES = {
    Scope.AUTH: "tsu",
    Scope.EMAIL_VERIFICATION: "tsv",
    Scope.PASSWORD_RESET: "tsr",
    Scope.SIGN_IN: "tsl",
}
LIFETIMES = {
    Scope.AUTH: timedelta(days=90),
    Scope.EMAIL_VERIFICATION: timedelta(hours=24),
    Scope.PASSWORD_RESET: timedelta(hours=1),
    Scope.SIGN_IN: timedelta(hours=1),
}
MAX_LIFETIME = timedelta(days=5 * 365)
DEFAULT_TTL_SECONDS = LIFETIMES[Scope.AUTH] // timedelta(seconds=1)
MAX_TTL_SECONDS = MAX_LIFETIME // timedelta(seconds=1)
LAST_USED_PRECISION = timedelta(minutes=10)
"""`last_used_at` is updated at most this often, so that not every request writes a row."""


class InvalidToken(Exception):
    """The token is unknown, malformed, expired, revoked or used.

    The response does not say which.
    """


def issue(
    user: User,
    *,
    scope: Token.Scope,
    now: datetime,
    label: str = "",
    access: str = Access.FULL,
    lifetime: timedelta | None = None,
    parent: Token | None = None,
    sent_to: str = "",
) -> tuple[Token, token_format.PlaintextToken]:
    """Create a token. Return the row and the plaintext, which is not stored.

    The default lifetime depends on the scope. A token that was created with another token
    (`parent`) expires and is revoked with it. Raises AccessEnded if the access of the user or the
    parent ended meanwhile, and quotas.QuotaReached.
    """
    secret = token_format.generate(PREFIXES[scope])
    expires_at = now + (lifetime or LIFETIMES[scope])
    with transaction.atomic():
        User.objects.lock(user)
        if scope == Scope.AUTH:
            count = Token.objects.filter(active_tokens(now), user=user, scope=scope).count()
            quotas.check_quota("TOKENS_PER_USER", count)
        if parent is not None:
            expires_at = _limit_expiry(parent, expires_at, now=now)
        token = Token.objects.create(
            user=user,
            scope=scope,
            token_hash=secret.digest,
            prefix=secret.display_prefix,
            label=label,
            access=access,
            expires_at=expires_at,
            parent=parent,
            sent_to=sent_to,
        )
        after = {"scope": scope, "access": access, "label": label, "expires_at": token.expires_at}
        audit.record("token.issued", target=token, after=after, now=now)
    return token, secret


def get_active(token: token_format.TokenOrDigest, *, scope: Token.Scope, now: datetime) -> Token:
    """Return the active token of an active user. Raises InvalidToken."""
    try:
        digest = token_format.get_digest(token, PREFIXES[scope])
        return Token.objects.select_related("user").get(
            active_tokens(now),
            token_hash=digest,
            scope=scope,
            used_at=None,
            user__is_active=True,
        )
    except (token_format.MalformedToken, Token.DoesNotExist):
        raise InvalidToken from None


def consume(token: token_format.TokenOrDigest, *, scope: Token.Scope, now: datetime) -> User:
    """Mark a single-use token as used; return its user. Of concurrent requests, one succeeds.

    Raises InvalidToken.
    """
    row = get_active(token, scope=scope, now=now)
    with transaction.atomic():
        unused = Token.objects.filter(active_tokens(now), pk=row.pk, used_at=None)
        if not unused.update(used_at=now):
            raise InvalidToken
        audit.record("token.used", target=row, actor=row.user, after={"scope": scope}, now=now)
    return row.user


def rotate(token: Token, *, now: datetime) -> tuple[Token, token_format.PlaintextToken]:
    """Replace a token by a new one with the same lifetime.

    The old token is revoked immediately, and so are the tokens that were created with it. Raises
    InvalidToken if the token is not active or was used.
    """
    with transaction.atomic():
        User.objects.lock(token.user)
        active = Token.objects.filter(active_tokens(now), pk=token.pk, used_at=None)
        if not active.update(revoked=True):
            raise InvalidToken
        audit.record("token.revoked", target=token, now=now)
        _revoke_children(token)
        return issue(
            token.user,
            scope=Scope(token.scope),
            now=now,
            label=token.label,
            access=token.access,
            lifetime=token.expires_at - token.created_at if token.expires_at else None,
            parent=token.parent,
        )


def revoke(token: StoredSecret) -> None:
    """Revoke a token and the tokens that were created with it. A second call does nothing."""
    active = type(token)._default_manager.filter(pk=token.pk, revoked=False)
    with transaction.atomic():
        if active.update(revoked=True):
            audit.record("token.revoked", target=token)
            if isinstance(token, Token):
                _revoke_children(token)


def revoke_all(user: User, *, keep: Token | None = None) -> None:
    """Revoke all tokens of the user, including unused links, except `keep`.

    The token `keep` no longer depends on its parent.
    """
    excluded = [keep.pk] if keep else []
    active = Token.objects.filter(user=user, revoked=False).exclude(pk__in=excluded)
    with transaction.atomic():
        Token.objects.filter(pk__in=excluded).update(parent=None)
        if count := active.update(revoked=True):
            audit.record("token.all_revoked", target=user, after={"count": count})


def revoke_email_links(user: User) -> None:
    """Revoke the mailed links of the user, because the e-mail address changes."""
    _revoke_links(user, Scope.EMAIL_VERIFICATION, Scope.PASSWORD_RESET)


def revoke_verification_links(user: User) -> None:
    """Revoke the links of e-mail verification. Links of a password reset stay valid."""
    _revoke_links(user, Scope.EMAIL_VERIFICATION)


def _revoke_links(user: User, *scopes: Token.Scope) -> None:
    Token.objects.filter(user=user, scope__in=scopes, revoked=False).update(revoked=True)


def _limit_expiry(parent: Token, expires_at: datetime, *, now: datetime) -> datetime:
    """Return the expiry of a child token, no later than that of the parent. Raises AccessEnded.

    Lock the parent until the end of the transaction, so that a revocation sees the child.
    """
    locked = (
        Token.objects.select_for_update(no_key=True)
        .filter(active_tokens(now), pk=parent.pk)
        .first()
    )
    if locked is None:
        raise AccessEnded
    return min(expires_at, locked.expires_at) if locked.expires_at else expires_at


def _revoke_children(*parents: Token) -> None:
    """Revoke all descendants of these tokens."""
    while parents:
        parents = tuple(Token.objects.filter(parent__in=parents, revoked=False))
        Token.objects.filter(pk__in=[child.pk for child in parents]).update(revoked=True)
        for child in parents:
            audit.record("token.revoked", target=child)


def record_use(token: StoredSecret, *, now: datetime) -> None:
    """Set `last_used_at`, with a precision of ten minutes."""
    stale = now - LAST_USED_PRECISION
    if token.last_used_at is None or token.last_used_at < stale:
        type(token)._default_manager.filter(pk=token.pk).filter(
            Q(last_used_at=None) | Q(last_used_at__lt=stale)
        ).update(last_used_at=now)
        token.last_used_at = now
