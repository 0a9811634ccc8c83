from datetime import timedelta

import pytest

from accounts.models import Token
from accounts.tokens import format as token_format
from accounts.tokens import services as tokens
from tests.concurrency import run_concurrently
from tests.factories import NOW, UserFactory

Scope = Token.Scope
SCOPES = list(Scope)


def issue(user, scope=Scope.AUTH, now=NOW):
    return tokens.issue(user, scope=scope, now=now)


def find(secret, scope=Scope.AUTH, now=NOW):
    return tokens.get_active(secret.text, scope=scope, now=now)


@pytest.mark.parametrize("scope", SCOPES)
def test_an_issued_token_is_found_by_its_secret(owner, scope):
    token, secret = issue(owner, scope)
    found = find(secret, scope)
    assert found == token
    assert found.user == owner


def test_the_secret_is_stored_only_as_a_hash(owner):
    token, secret = issue(owner)
    token.refresh_from_db()
    assert bytes(token.token_hash) == secret.digest
    assert token.prefix == secret.text[:8]
    assert not [value for value in vars(token).values() if value == secret.text]


@pytest.mark.parametrize(
    ("scope", "lifetime"),
    [
        (Scope.AUTH, timedelta(days=90)),
        (Scope.EMAIL_VERIFICATION, timedelta(hours=24)),
        (Scope.PASSWORD_RESET, timedelta(hours=1)),
        (Scope.SIGN_IN, timedelta(hours=1)),
    ],
)
def test_a_token_is_rejected_after_its_lifetime(owner, scope, lifetime):
    secret = issue(owner, scope)[1]
    assert find(secret, scope, NOW + lifetime - timedelta(microseconds=1))
    with pytest.raises(tokens.InvalidToken):
        find(secret, scope, NOW + lifetime)


def test_a_revoked_token_is_rejected(owner):
    token, secret = issue(owner)
    tokens.revoke(token)
    tokens.revoke(token)
    with pytest.raises(tokens.InvalidToken):
        find(secret)


def test_a_consumed_token_is_rejected(owner):
    secret = issue(owner, Scope.PASSWORD_RESET)[1]
    assert tokens.consume(secret.text, scope=Scope.PASSWORD_RESET, now=NOW) == owner
    with pytest.raises(tokens.InvalidToken):
        find(secret, Scope.PASSWORD_RESET)
    with pytest.raises(tokens.InvalidToken):
        tokens.consume(secret.text, scope=Scope.PASSWORD_RESET, now=NOW)


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("other", SCOPES)
def test_a_token_is_accepted_only_for_its_scope(owner, scope, other):
    secret = issue(owner, scope)[1]
    if scope == other:
        assert find(secret, other)
    else:
        with pytest.raises(tokens.InvalidToken):
            find(secret, other)


def test_the_scope_of_the_row_is_checked_and_not_only_the_prefix(owner):
    token, secret = issue(owner)
    Token.objects.filter(pk=token.pk).update(scope=Scope.PASSWORD_RESET)
    with pytest.raises(tokens.InvalidToken):
        find(secret)


def test_a_token_that_was_never_issued_is_rejected(db):
    with pytest.raises(tokens.InvalidToken):
        find(token_format.generate("tsu"))


def test_a_token_with_a_wrong_checksum_is_rejected_without_a_query(
    owner, django_assert_num_queries
):
    text = issue(owner)[1].text
    with django_assert_num_queries(0), pytest.raises(tokens.InvalidToken):
        tokens.get_active(text[:-1] + ("0" if text[-1] != "0" else "1"), scope=Scope.AUTH, now=NOW)


def test_a_token_of_a_deactivated_user_is_rejected(owner):
    secret = issue(owner)[1]
    owner.is_active = False
    owner.save()
    with pytest.raises(tokens.InvalidToken):
        find(secret)


def test_an_expired_token_cannot_be_consumed(owner):
    secret = issue(owner, Scope.SIGN_IN)[1]
    with pytest.raises(tokens.InvalidToken):
        tokens.consume(secret.text, scope=Scope.SIGN_IN, now=NOW + timedelta(hours=1))


@pytest.mark.django_db(transaction=True)
def test_one_of_twenty_concurrent_uses_of_a_token_succeeds():
    user = UserFactory.create()
    secret = issue(user, Scope.PASSWORD_RESET)[1]
    outcomes = run_concurrently(
        *[lambda: tokens.consume(secret.text, scope=Scope.PASSWORD_RESET, now=NOW)] * 20
    )
    assert outcomes.count(user) == 1
    assert sum(isinstance(outcome, tokens.InvalidToken) for outcome in outcomes) == 19


def test_last_used_at_is_updated_at_most_once_in_ten_minutes(owner, django_assert_num_queries):
    token = issue(owner)[0]
    tokens.record_use(token, now=NOW)
    token.refresh_from_db()
    assert token.last_used_at == NOW

    with django_assert_num_queries(0):
        tokens.record_use(token, now=NOW + timedelta(minutes=10))

    later = NOW + timedelta(minutes=10, microseconds=1)
    tokens.record_use(token, now=later)
    token.refresh_from_db()
    assert token.last_used_at == later


def test_the_second_of_two_concurrent_requests_does_not_update_last_used_at(owner):
    token = issue(owner)[0]
    other_instance = Token.objects.get(pk=token.pk)
    tokens.record_use(token, now=NOW)
    tokens.record_use(other_instance, now=NOW + timedelta(seconds=1))
    token.refresh_from_db()
    assert token.last_used_at == NOW


def test_revoke_all_revokes_only_the_tokens_of_the_user(owner, stranger):
    issued = [(scope, issue(owner, scope)[1]) for scope in SCOPES]
    stranger_secret = issue(stranger)[1]
    tokens.revoke_all(owner)
    for scope, secret in issued:
        with pytest.raises(tokens.InvalidToken):
            find(secret, scope)
    assert find(stranger_secret).user == stranger
