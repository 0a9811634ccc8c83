import pytest
from django.contrib.auth import authenticate

from tests.factories import PASSWORD, UserFactory
from tests.hashers import CheapHasher


@pytest.fixture
def ada(db):
    return UserFactory.create(username="Ada", email="Ada@Example.org")


@pytest.mark.parametrize(
    "name", ["Ada", "ada", "ADA", "Ada@Example.org", "ada@example.org", "ADA@EXAMPLE.ORG"]
)
def test_a_username_or_email_in_any_case_authenticates(ada, name):
    assert authenticate(username=name, password=PASSWORD) == ada


@pytest.mark.parametrize("name", ["ad", "ada ", "ada%", "_da", "", "ada@example.or", "ada\0"])
def test_any_other_username_is_rejected(ada, name):
    assert authenticate(username=name, password=PASSWORD) is None


@pytest.mark.parametrize("password", ["", PASSWORD.upper(), PASSWORD + " ", " " + PASSWORD, "\0"])
def test_any_other_password_is_rejected(ada, password):
    assert authenticate(username="ada", password=password) is None


def test_a_missing_username_or_password_is_rejected(ada):
    assert authenticate(username=None, password=PASSWORD) is None
    assert authenticate(username="ada", password=None) is None


def test_a_deactivated_user_is_rejected(db):
    UserFactory.create(username="gone", is_active=False)
    assert authenticate(username="gone", password=PASSWORD) is None


def test_a_user_without_a_password_is_rejected(db):
    user = UserFactory.create(username="mailed")
    user.set_unusable_password()
    user.save()
    assert authenticate(username="mailed", password="") is None
    assert authenticate(username="mailed", password=user.password) is None


def test_an_unknown_username_takes_as_many_hashes_as_a_wrong_password(owner, monkeypatch):
    hashes = []
    real = CheapHasher.encode

    def counted(hasher, *args, **kwargs):
        hashes.append(1)
        return real(hasher, *args, **kwargs)

    monkeypatch.setattr(CheapHasher, "encode", counted)
    monkeypatch.setattr(CheapHasher, "verify", lambda *args: bool(hashes.append(1)), raising=True)
    for name in ("owner", "unknown"):
        hashes.clear()
        assert authenticate(username=name, password="wrong") is None
        assert len(hashes) == 1
