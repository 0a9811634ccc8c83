"""Usernames that share the counters of another username are rejected."""

import pytest
from django.core.exceptions import ValidationError

from accounts.models import User
from accounts.registration import activation
from tests.conftest import Api
from tests.factories import PASSWORD, UserFactory

AMBIGUOUS = ["straße", "STRAẞE", "ﬁn", "\u017fam", "νέος"]


@pytest.mark.django_db
@pytest.mark.parametrize("name", AMBIGUOUS)
def test_a_username_that_changes_when_folded_is_rejected(name: str) -> None:
    with pytest.raises(ValidationError) as caught:
        activation.validate_username(User(username=name))
    assert caught.value.error_dict["username"][0].code == "ambiguous"


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["strasse", "Jürgen", "ÅSA", "Жанна", "名前"])
def test_other_usernames_are_accepted(name: str) -> None:
    activation.validate_username(User(username=name))


def test_an_existing_user_keeps_the_username_and_changes_other_fields(
    owner: User, owner_api: Api
) -> None:
    User.objects.filter(pk=owner.pk).update(username="straße")
    response = owner_api.patch("/api/v1/users/me", {"username": "straße", "language": "de"})
    assert response.status_code == 200
    assert owner_api.patch("/api/v1/users/me", {"username": "spaß"}).status_code == 422


def test_an_existing_user_signs_in(anonymous_api: Api, db: None) -> None:
    UserFactory.create(username="straße")
    body = {"username": "straße", "password": PASSWORD}
    assert anonymous_api.post("/api/v1/auth/login", body).status_code == 200
