"""Changes of the profile."""

import pytest
from django.db.models import QuerySet

from accounts.models import User
from tests.conftest import Api
from tests.factories import PASSWORD
from tests.mail import Inbox

ME = "/api/v1/users/me"


def test_a_username_that_another_user_gets_concurrently_is_rejected(
    owner: User, stranger: User, owner_api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    exists = QuerySet.exists

    def exists_before_the_other_user_is_renamed(rows: QuerySet[User]) -> bool:
        """Return the result, then give the username to the other user."""
        found = exists(rows)
        if rows.model is User:
            User.objects.filter(pk=stranger.pk).update(username="wanted")
        return found

    monkeypatch.setattr(QuerySet, "exists", exists_before_the_other_user_is_renamed)
    response = owner_api.patch(ME, {"username": "wanted"})
    assert response.status_code == 422
    assert response.json()["errors"][0]["code"] == "taken"
    owner.refresh_from_db()
    assert owner.username == "owner"


def test_a_taken_username_rejects_the_whole_change(
    owner: User, stranger: User, owner_api: Api, inbox: Inbox
) -> None:
    body = {"email": "new@example.org", "password": PASSWORD, "username": stranger.username}
    assert owner_api.patch(ME, body).status_code == 422
    owner.refresh_from_db()
    assert (owner.username, owner.pending_email) == ("owner", "")
    assert inbox.deliver() == 0
