"""The end of access to an account: one function for every event that ends it.

docs/decisions/0045 has the table of events and of what each of them ends.
"""

from django.db import transaction
from django.db.models import F

from accounts import throttling
from accounts.models import Token, User
from accounts.sessions import services as sessions
from accounts.tokens import services as tokens


def end_access(user: User, *, keep_token: Token | None = None) -> None:
    """End all sessions, API tokens, mailed links and the pending change of address of the user.

    `keep_token` is the API token that asked for it. A browser that asked for it is signed in again
    by its view (`update_session_auth_hash`). Device tokens stay.
    """
    with transaction.atomic():
        # The user's row before the rows of tokens, as everywhere, so that nothing deadlocks.
        User.objects.filter(pk=user.pk).update(
            pending_email="", access_generation=F("access_generation") + 1
        )
        user.refresh_from_db(fields=["pending_email", "access_generation"])
        tokens.revoke_all(user, keep=keep_token)
        # Whoever knew the password may have used these up. The tries of a day go on counting: an
        # end of access by a mailed link gives nobody more codes to guess.
        window, _day = throttling.of_codes(user.pk)
        throttling.reset([window, throttling.of_recovery_code(user.pk)])
        sessions.end_all(user)


def end_address_change(user: User) -> None:
    """End the pending change of address and every link that was mailed."""
    with transaction.atomic():
        User.objects.filter(pk=user.pk).update(pending_email="")
        tokens.revoke_email_links(user)
    user.pending_email = ""
