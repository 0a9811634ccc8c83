"""State machine: tokens behave like a simple model in any order of operations.

The suite runs a few dozen examples; TOKEN_LIVES=500 runs more.
"""

import os
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest
from django.db import transaction
from django.utils import timezone
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from accounts.models import Token
from accounts.passwords import services as passwords
from accounts.tokens import format as token_format
from accounts.tokens import services as tokens
from tests.factories import UserFactory

Scope, Access = Token.Scope, Token.Access
EXAMPLES = int(os.environ.get("TOKEN_LIVES", "25"))


@dataclass
class ExpectedToken:
    """The expected state of a token."""

    secret: token_format.PlaintextToken
    row: Token
    scope: Token.Scope
    ends_at: datetime
    ended: bool = False
    """Revoked, rotated or consumed."""

    def is_active(self, now: datetime) -> bool:
        return not self.ended and now < self.ends_at


class TokenMachine(RuleBasedStateMachine):
    known = Bundle("known")

    def __init__(self) -> None:
        super().__init__()
        self.transaction = transaction.atomic()
        self.transaction.__enter__()
        self.now = timezone.now()
        self.user = UserFactory.create()
        self.expected_tokens: list[ExpectedToken] = []

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.transaction.__exit__(None, None, None)

    def add(
        self, row: Token, secret: token_format.PlaintextToken, lifetime: timedelta
    ) -> ExpectedToken:
        expected = ExpectedToken(secret, row, Scope(row.scope), self.now + lifetime)
        self.expected_tokens.append(expected)
        return expected

    @rule(
        target=known,
        scope=st.sampled_from(Scope),
        access=st.sampled_from(Access),
        lifetime=st.none() | st.sampled_from([timedelta(seconds=1), timedelta(days=400)]),
    )
    def issue(
        self, scope: Token.Scope, access: Token.Access, lifetime: timedelta | None
    ) -> ExpectedToken:
        made = tokens.issue(self.user, scope=scope, now=self.now, access=access, lifetime=lifetime)
        return self.add(*made, lifetime or tokens.LIFETIMES[scope])

    @rule(expected=known)
    def use(self, expected: ExpectedToken) -> None:
        with suppress(tokens.InvalidToken):
            token = tokens.get_active(expected.secret.text, scope=expected.scope, now=self.now)
            assert expected.is_active(self.now)
            tokens.record_use(token, now=self.now)

    @rule(target=known, expected=known)
    def rotate(self, expected: ExpectedToken) -> object:
        was_active = expected.is_active(self.now)
        try:
            made = tokens.rotate(Token.objects.get(pk=expected.row.pk), now=self.now)
        except tokens.InvalidToken:
            assert not was_active
            return multiple()
        assert was_active
        expected.ended = True
        return self.add(*made, expected.ends_at - expected.row.created_at)

    @rule(expected=known, scope=st.none() | st.sampled_from(Scope))
    def consume(self, expected: ExpectedToken, scope: Token.Scope | None) -> None:
        scope = scope or expected.scope
        allowed = expected.is_active(self.now) and scope == expected.scope
        try:
            assert tokens.consume(expected.secret.text, scope=scope, now=self.now) == self.user
        except tokens.InvalidToken:
            assert not allowed
        else:
            assert allowed
            expected.ended = True

    @rule(expected=known)
    def revoke(self, expected: ExpectedToken) -> None:
        tokens.revoke(expected.row)
        expected.ended = True

    @rule(keep=st.none() | known)
    def change_the_password(self, keep: ExpectedToken | None) -> None:
        passwords.set_password(self.user, "another long passphrase", keep=keep and keep.row)
        for expected in self.expected_tokens:
            expected.ended = expected.ended or expected is not keep

    @rule(
        wait=st.sampled_from(
            [*tokens.LIFETIMES.values(), timedelta(seconds=1), timedelta(days=30)]
        ),
        less=st.sampled_from([timedelta(0), timedelta(microseconds=1)]),
    )
    def wait(self, wait: timedelta, less: timedelta) -> None:
        self.now += wait - less

    @invariant()
    def each_token_is_accepted_as_expected(self) -> None:
        for expected in self.expected_tokens:
            for scope in Scope:
                try:
                    found = tokens.get_active(expected.secret.text, scope=scope, now=self.now)
                except tokens.InvalidToken:
                    assert not (expected.is_active(self.now) and scope == expected.scope)
                else:
                    assert expected.is_active(self.now)
                    assert scope == expected.scope
                    assert found.pk == expected.row.pk

    @invariant()
    def no_row_contains_a_secret(self) -> None:
        rows = str(list(Token.objects.filter(user=self.user).values()))
        assert not [expected for expected in self.expected_tokens if expected.secret.text in rows]


@pytest.mark.django_db
def test_tokens_behave_like_the_model():
    run_state_machine_as_test(
        TokenMachine, settings=settings(max_examples=EXAMPLES, stateful_step_count=20)
    )
