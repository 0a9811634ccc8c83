"""Revoke access to an account: one function for all events that revoke access.

docs/decisions/0045 lists the events and what each of them revokes.
"""

from django.db import transaction
from django.db.models import F

from accounts import throttling
from accounts.models import Token, User
from accounts.sessions import services as sessions
from accounts.tokens import services as tokens


def end_access(user: User, *, keep_token: Token | None = None) -> None:
    """End all sessions, API tokens, mailed links and the pending change of e-mail address.

    `keep_token` is the API token of this request, which stays valid. In a browser, the view keeps
    the current session (`update_session_auth_hash`). Device tokens stay valid.
    """
    with transaction.atomic():
        # Lock the user's row before the token rows, as all code does, to avoid deadlocks.
        User.objects.filter(pk=user.pk).update(
            pending_email="", access_generation=F("access_generation") + 1
        )
        user.refresh_from_db(fields=["pending_email", "access_generation"])
        tokens.revoke_all(user, keep=keep_token)
        # An attacker who knew the password may have used up these limits. The daily limit is not
        # reset: a password reset by a mailed link must not allow more guesses of codes.
        window, _day = throttling.code_limits(user.pk)
        throttling.reset([window, throttling.recovery_code_limit(user.pk)])
        sessions.end_all(user)


def cancel_email_change(user: User) -> None:
    """Cancel the pending change of e-mail address and revoke the verification links.

    It needs no password. Links of a password reset stay valid, because a stolen session could
    otherwise prevent the owner from resetting the password.
    """
    with transaction.atomic():
        User.objects.filter(pk=user.pk).update(pending_email="")
        tokens.revoke_verification_links(user)
    user.pending_email = ""
