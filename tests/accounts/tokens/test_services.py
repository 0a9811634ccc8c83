from datetime import timedelta

import pytest

from accounts.models import Token
from accounts.tokens import format as token_format
from accounts.tokens import services as tokens
from tests.concurrency import at_once
from tests.factories import NOW, UserFactory

Scope = Token.Scope
SCOPES = list(Scope)


def issue(user, scope=Scope.AUTH, now=NOW):
    return tokens.issue(user, scope=scope, now=now)


def find(secret, scope=Scope.AUTH, now=NOW):
    return tokens.get_active(secret.text, scope=scope, now=now)


@pytest.mark.parametrize("scope", SCOPES)
def test_an_issued_secret_opens_its_token(owner, scope):
    token, secret = issue(owner, scope)
    found = find(secret, scope)
    assert found == token
    assert found.user == owner


def test_the_secret_itself_is_nowhere_in_the_row(owner):
    token, secret = issue(owner)
    token.refresh_from_db()
    assert bytes(token.token_hash) == secret.digest
    assert token.prefix == secret.text[:8]
    assert not [value for value in vars(token).values() if value == secret.text]


@pytest.mark.parametrize(
    ("scope", "life"),
    [
        (Scope.AUTH, timedelta(days=90)),
        (Scope.EMAIL_VERIFICATION, timedelta(hours=24)),
        (Scope.PASSWORD_RESET, timedelta(hours=1)),
        (Scope.SIGN_IN, timedelta(hours=1)),
    ],
)
def test_a_token_ends_with_its_time(owner, scope, life):
    secret = issue(owner, scope)[1]
    assert find(secret, scope, NOW + life - timedelta(microseconds=1))
    with pytest.raises(tokens.InvalidToken):
        find(secret, scope, NOW + life)


def test_a_revoked_token_is_refused(owner):
    token, secret = issue(owner)
    tokens.revoke(token)
    tokens.revoke(token)
    with pytest.raises(tokens.InvalidToken):
        find(secret)


def test_a_used_token_is_refused(owner):
    secret = issue(owner, Scope.PASSWORD_RESET)[1]
    assert tokens.consume(secret.text, scope=Scope.PASSWORD_RESET, now=NOW) == owner
    with pytest.raises(tokens.InvalidToken):
        find(secret, Scope.PASSWORD_RESET)
    with pytest.raises(tokens.InvalidToken):
        tokens.consume(secret.text, scope=Scope.PASSWORD_RESET, now=NOW)


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("other", SCOPES)
def test_a_secret_opens_nothing_but_its_own_scope(owner, scope, other):
    secret = issue(owner, scope)[1]
    if scope == other:
        assert find(secret, other)
    else:
        with pytest.raises(tokens.InvalidToken):
            find(secret, other)


def test_the_scope_is_checked_in_the_row_and_not_by_the_prefix_alone(owner):
    token, secret = issue(owner)
    Token.objects.filter(pk=token.pk).update(scope=Scope.PASSWORD_RESET)
    with pytest.raises(tokens.InvalidToken):
        find(secret)


def test_a_secret_nobody_was_given_is_refused(db):
    with pytest.raises(tokens.InvalidToken):
        find(token_format.generate("tsu"))


def test_a_typo_is_refused_without_asking_the_database(owner, django_assert_num_queries):
    text = issue(owner)[1].text
    with django_assert_num_queries(0), pytest.raises(tokens.InvalidToken):
        tokens.get_active(text[:-1] + ("0" if text[-1] != "0" else "1"), scope=Scope.AUTH, now=NOW)


def test_a_token_stops_with_its_user(owner):
    secret = issue(owner)[1]
    owner.is_active = False
    owner.save()
    with pytest.raises(tokens.InvalidToken):
        find(secret)


def test_an_expired_secret_cannot_be_redeemed(owner):
    secret = issue(owner, Scope.SIGN_IN)[1]
    with pytest.raises(tokens.InvalidToken):
        tokens.consume(secret.text, scope=Scope.SIGN_IN, now=NOW + timedelta(hours=1))


@pytest.mark.django_db(transaction=True)
def test_of_twenty_redemptions_at_once_one_succeeds():
    user = UserFactory.create()
    secret = issue(user, Scope.PASSWORD_RESET)[1]
    outcomes = at_once(
        *[lambda: tokens.consume(secret.text, scope=Scope.PASSWORD_RESET, now=NOW)] * 20
    )
    assert outcomes.count(user) == 1
    assert sum(isinstance(outcome, tokens.InvalidToken) for outcome in outcomes) == 19


def test_use_is_noted_at_most_once_in_ten_minutes(owner, django_assert_num_queries):
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


def test_of_two_requests_at_once_the_second_does_not_write_again(owner):
    token = issue(owner)[0]
    same = Token.objects.get(pk=token.pk)
    tokens.record_use(token, now=NOW)
    tokens.record_use(same, now=NOW + timedelta(seconds=1))
    token.refresh_from_db()
    assert token.last_used_at == NOW


def test_all_of_a_users_tokens_can_be_ended_at_once(owner, stranger):
    mine = [(scope, issue(owner, scope)[1]) for scope in SCOPES]
    hers = issue(stranger)[1]
    tokens.revoke_all(owner)
    for scope, secret in mine:
        with pytest.raises(tokens.InvalidToken):
            find(secret, scope)
    assert find(hers).user == stranger
