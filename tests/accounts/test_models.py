"""Constraints of the accounts tables and defaults of new users."""

from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError

from accounts.models import Token, User, active_tokens
from tests.factories import NOW, UserFactory


@pytest.mark.parametrize(
    ("first", "second", "constraint"),
    [
        ({"username": "ada"}, {"username": "ADA"}, "users_username_unique_in_any_case"),
        ({"email": "a@x.org"}, {"email": "A@X.org"}, "users_email_confirmed_once"),
    ],
)
def test_username_and_email_are_unique_in_any_case(db, first, second, constraint):
    UserFactory.create(**first)
    with pytest.raises(IntegrityError, match=constraint):
        UserFactory.create(**second)


@pytest.mark.parametrize(
    ("field", "value", "constraint"),
    [
        ("username", "ada@example.org", "users_username_is_no_address"),
        ("username", "", "users_username_not_empty"),
    ],
)
def test_the_database_rejects_an_invalid_username(owner, field, value, constraint):
    with pytest.raises(IntegrityError, match=constraint):
        User.objects.filter(pk=owner.pk).update(**{field: value})


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_the_database_rejects_a_hash_of_another_length(owner, length):
    with pytest.raises(IntegrityError, match="token_token_hash_is_sha256"):
        Token.objects.create(user=owner, scope="auth", token_hash=b"x" * length)


def test_the_database_rejects_a_duplicate_hash(owner, stranger):
    Token.objects.create(user=owner, scope="auth", token_hash=b"x" * 32)
    with pytest.raises(IntegrityError, match="token_hash"):
        Token.objects.create(user=stranger, scope="auth", token_hash=b"x" * 32)


@pytest.mark.parametrize(
    "fields",
    [
        {"username": "with space"},
        {"username": "with@sign"},
        {"username": "line\n"},
        {"username": "nul\0"},
        {"username": ""},
        {"username": "x" * 151},
        {"email": "no address"},
        {"email": ""},
        {"time_zone": "Mars/Olympus"},
        {"time_zone": "../../etc/passwd"},
    ],
)
def test_a_user_with_an_invalid_field_is_not_created(db, fields):
    given = {"username": "ada", "email": "ada@example.org", **fields}
    with pytest.raises(ValidationError) as caught:
        User.objects.create_user(given.pop("username"), given.pop("email"), "secret", **given)
    assert set(caught.value.error_dict) == set(fields)
    assert not User.objects.exists()


def test_a_user_is_created_with_a_hashed_password(db):
    user = User.objects.create_user("ada", "ada@EXAMPLE.org", "a long enough secret")
    user.refresh_from_db()
    assert user.email == "ada@example.org"
    assert user.password.startswith("argon2$argon2id$")
    assert user.check_password("a long enough secret")
    assert not user.is_staff
    assert not user.is_superuser


def test_a_user_without_a_password_has_no_usable_password(db):
    assert not User.objects.create_user("ada", "ada@example.org").has_usable_password()


def test_a_superuser_is_staff_and_has_a_verified_email(db):
    admin = User.objects.create_superuser("root", "root@example.org", "a long enough secret")
    assert admin.is_staff
    assert admin.is_superuser
    assert admin.email_verified_at


def test_a_token_is_active_until_it_expires_or_is_revoked(owner):
    def token(number, **fields):
        return Token.objects.create(
            user=owner, scope="auth", token_hash=bytes([number]) * 32, **fields
        )

    without_expiry = token(1)
    not_yet_expired = token(2, expires_at=NOW + timedelta(microseconds=1))
    token(3, expires_at=NOW)
    token(4, revoked=True)
    assert set(Token.objects.filter(active_tokens(NOW))) == {without_expiry, not_yet_expired}


def test_users_are_displayed_by_username_and_tokens_by_prefix(owner):
    assert str(owner) == owner.get_short_name() == "owner"
    assert str(Token(prefix="tsu_0123")) == "tsu_0123…"
    assert str(Token(prefix="tsu_0123", label="cron")) == "tsu_0123… (cron)"
