"""Any life that tokens can have, beside the same life on paper.

A few dozen lives in the suite; `TOKEN_LIVES=500` for more.
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
LIVES = int(os.environ.get("TOKEN_LIVES", "25"))


@dataclass
class OnPaper:
    """What ought to be so of a token."""

    secret: token_format.PlaintextToken
    row: Token
    scope: Token.Scope
    ends_at: datetime
    over: bool = False
    """Revoked, rotated or used up."""

    def lives(self, now: datetime) -> bool:
        return not self.over and now < self.ends_at


class TokenLives(RuleBasedStateMachine):
    known = Bundle("known")

    def __init__(self) -> None:
        super().__init__()
        self.transaction = transaction.atomic()
        self.transaction.__enter__()
        self.now = timezone.now()
        self.user = UserFactory.create()
        self.papers: list[OnPaper] = []

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.transaction.__exit__(None, None, None)

    def note(self, row: Token, secret: token_format.PlaintextToken, lifetime: timedelta) -> OnPaper:
        paper = OnPaper(secret, row, Scope(row.scope), self.now + lifetime)
        self.papers.append(paper)
        return paper

    @rule(
        target=known,
        scope=st.sampled_from(Scope),
        access=st.sampled_from(Access),
        lifetime=st.none() | st.sampled_from([timedelta(seconds=1), timedelta(days=400)]),
    )
    def issue(
        self, scope: Token.Scope, access: Token.Access, lifetime: timedelta | None
    ) -> OnPaper:
        made = tokens.issue(self.user, scope=scope, now=self.now, access=access, lifetime=lifetime)
        return self.note(*made, lifetime or tokens.LIFETIMES[scope])

    @rule(paper=known)
    def use(self, paper: OnPaper) -> None:
        with suppress(tokens.InvalidToken):
            token = tokens.get_active(paper.secret.text, scope=paper.scope, now=self.now)
            assert paper.lives(self.now)
            tokens.record_use(token, now=self.now)

    @rule(target=known, paper=known)
    def rotate(self, paper: OnPaper) -> object:
        lived = paper.lives(self.now)
        try:
            made = tokens.rotate(Token.objects.get(pk=paper.row.pk), now=self.now)
        except tokens.InvalidToken:
            assert not lived
            return multiple()
        assert lived
        paper.over = True
        return self.note(*made, paper.ends_at - paper.row.created_at)

    @rule(paper=known, scope=st.none() | st.sampled_from(Scope))
    def redeem(self, paper: OnPaper, scope: Token.Scope | None) -> None:
        scope = scope or paper.scope
        may = paper.lives(self.now) and scope == paper.scope
        try:
            assert tokens.consume(paper.secret.text, scope=scope, now=self.now) == self.user
        except tokens.InvalidToken:
            assert not may
        else:
            assert may
            paper.over = True

    @rule(paper=known)
    def revoke(self, paper: OnPaper) -> None:
        tokens.revoke(paper.row)
        paper.over = True

    @rule(keep=st.none() | known)
    def change_the_password(self, keep: OnPaper | None) -> None:
        passwords.set_password(self.user, "another long passphrase", keep=keep and keep.row)
        for paper in self.papers:
            paper.over = paper.over or paper is not keep

    @rule(
        wait=st.sampled_from(
            [*tokens.LIFETIMES.values(), timedelta(seconds=1), timedelta(days=30)]
        ),
        less=st.sampled_from([timedelta(0), timedelta(microseconds=1)]),
    )
    def wait(self, wait: timedelta, less: timedelta) -> None:
        self.now += wait - less

    @invariant()
    def each_opens_what_it_should_and_nothing_else(self) -> None:
        for paper in self.papers:
            for scope in Scope:
                try:
                    found = tokens.get_active(paper.secret.text, scope=scope, now=self.now)
                except tokens.InvalidToken:
                    assert not (paper.lives(self.now) and scope == paper.scope)
                else:
                    assert paper.lives(self.now)
                    assert scope == paper.scope
                    assert found.pk == paper.row.pk

    @invariant()
    def the_secrets_are_nowhere_in_their_rows(self) -> None:
        rows = str(list(Token.objects.filter(user=self.user).values()))
        assert not [paper for paper in self.papers if paper.secret.text in rows]


@pytest.mark.django_db
def test_tokens_live_as_they_do_on_paper():
    run_state_machine_as_test(
        TokenLives, settings=settings(max_examples=LIVES, stateful_step_count=20)
    )
