"""The life of a user's secrets: issue, find, redeem once, revoke. The only writer of `tokens`;
what holds for every kind of secret (revoke, note_use) devices use for theirs, too.
"""

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q

from accounts.audit import log as audit
from accounts.models import AccessEnded, StoredSecret, Token, User, alive
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
LAST_USED_PRECISION = timedelta(minutes=10)
"""`last_used_at` is written at most this often, or each request would write a row."""


class InvalidToken(Exception):
    """Unknown, malformed, expired, revoked or used: nobody learns which."""


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
    """Store a new token of the user; the secret is in the answer and nowhere else.

    Without a lifetime it has the one of its scope. It ends with the token that asked for it
    (`parent`). Raises AccessEnded if the user's access or the parent ended meanwhile, and
    quotas.QuotaReached.
    """
    secret = token_format.generate(PREFIXES[scope])
    expires_at = now + (lifetime or LIFETIMES[scope])
    with transaction.atomic():
        User.objects.lock(user)
        if scope == Scope.AUTH:
            held = Token.objects.filter(alive(now), user=user, scope=scope).count()
            quotas.check_quota("TOKENS_PER_USER", held)
        if parent is not None:
            expires_at = _end_with(parent, expires_at, now=now)
        token = Token.objects.create(
            user=user,
            scope=scope,
            token_hash=secret.digest,
            prefix=secret.visible,
            label=label,
            access=access,
            expires_at=expires_at,
            parent=parent,
            sent_to=sent_to,
        )
        about = {"scope": scope, "access": access, "label": label, "expires_at": token.expires_at}
        audit.record("token.issued", target=token, after=about, now=now)
    return token, secret


def get_active(shown: token_format.Shown, *, scope: Token.Scope, now: datetime) -> Token:
    """The living token of an active user that this secret opens. Raises TokenRefused."""
    try:
        digest = token_format.digest_of(shown, PREFIXES[scope])
        return Token.objects.select_related("user").get(
            alive(now),
            token_hash=digest,
            scope=scope,
            used_at=None,
            user__is_active=True,
        )
    except (token_format.MalformedToken, Token.DoesNotExist):
        raise InvalidToken from None


def consume(shown: token_format.Shown, *, scope: Token.Scope, now: datetime) -> User:
    """Use a single-use secret up and return its user. Of many at once one succeeds.

    Raises TokenRefused.
    """
    token = get_active(shown, scope=scope, now=now)
    with transaction.atomic():
        if not Token.objects.filter(alive(now), pk=token.pk, used_at=None).update(used_at=now):
            raise InvalidToken
        audit.record("token.used", target=token, by=token.user, after={"scope": scope}, now=now)
    return token.user


def rotate(token: Token, *, now: datetime) -> tuple[Token, token_format.PlaintextToken]:
    """One like it in its place, for as long again; the old one is refused from now on, and so
    are the tokens that were made with it.

    Raises TokenRefused when it has ended already, or is used up.
    """
    with transaction.atomic():
        User.objects.lock(token.user)
        living = Token.objects.filter(alive(now), pk=token.pk, used_at=None)
        if not living.update(revoked=True):
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
    """End a token, and the tokens that were made with it; the next request with one of them is
    refused. Revoking twice is harmless.
    """
    living = type(token)._default_manager.filter(pk=token.pk, revoked=False)
    with transaction.atomic():
        if living.update(revoked=True):
            audit.record("token.revoked", target=token)
            if isinstance(token, Token):
                _revoke_children(token)


def revoke_all(user: User, *, keep: Token | None = None) -> None:
    """End every token of the user but one, unused links included. The one that is kept no longer
    depends on the token that made it.
    """
    kept = [keep.pk] if keep else []
    living = Token.objects.filter(user=user, revoked=False).exclude(pk__in=kept)
    with transaction.atomic():
        Token.objects.filter(pk__in=kept).update(parent=None)
        if count := living.update(revoked=True):
            audit.record("token.all_revoked", target=user, after={"count": count})


def revoke_email_links(user: User) -> None:
    """End the links that were mailed to the user's address."""
    mailed = (Scope.EMAIL_VERIFICATION, Scope.PASSWORD_RESET)
    Token.objects.filter(user=user, scope__in=mailed, revoked=False).update(revoked=True)


def _end_with(parent: Token, expires_at: datetime, *, now: datetime) -> datetime:
    """Return when a child of this token expires. Locks the parent until the end of the transaction,
    so that a revocation sees the child. Raises AccessEnded.
    """
    held = Token.objects.select_for_update(no_key=True).filter(alive(now), pk=parent.pk).first()
    if held is None:
        raise AccessEnded
    return min(expires_at, held.expires_at) if held.expires_at else expires_at


def _revoke_children(*parents: Token) -> None:
    """End the tokens that were made with these, and with those, and so on."""
    while parents:
        parents = tuple(Token.objects.filter(parent__in=parents, revoked=False))
        Token.objects.filter(pk__in=[child.pk for child in parents]).update(revoked=True)
        for child in parents:
            audit.record("token.revoked", target=child)


def record_use(token: StoredSecret, *, now: datetime) -> None:
    """Remember that a token was used, to a precision of ten minutes."""
    stale = now - LAST_USED_PRECISION
    if token.last_used_at is None or token.last_used_at < stale:
        type(token)._default_manager.filter(pk=token.pk).filter(
            Q(last_used_at=None) | Q(last_used_at__lt=stale)
        ).update(last_used_at=now)
        token.last_used_at = now
