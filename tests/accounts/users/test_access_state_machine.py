"""Whatever happens in whatever order: what was issued before access ended opens nothing after it.

The owner reads the mail of the addresses that are theirs, the thief of theirs; both may know the
password, and staff look on. Each secret is remembered with the number of ends of access before it.
"""

import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.core.exceptions import ValidationError
from django.db import transaction
from django.test import Client
from django.utils import timezone
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from procrastinate.contrib.django.models import ProcrastinateJob

from accounts import tasks
from accounts.email import verification
from accounts.mfa import services as mfa
from accounts.models import Token, User
from accounts.passwords import services as passwords
from accounts.registration import services as registrations
from accounts.tokens import services as tokens
from accounts.tokens.services import Scope
from accounts.users import permissions
from tests.admin import opened_with
from tests.factories import PASSWORD, StaffFactory, UserFactory, second_factor_of

HOME = "owner@example.org"
OWNERS = [HOME, "moved@example.org"]
pytestmark = pytest.mark.unmeasured

THIEFS = ["thief@evil.example", "other@evil.example"]
SCOPES = {"tsv": Scope.EMAIL_VERIFICATION, "tsr": Scope.PASSWORD_RESET}
PASSWORDS = [PASSWORD, "a quite long sentence", "another long sentence"]


@dataclass
class Held:
    """Something that may open the account, and how often access had ended when it was made."""

    what: Any
    ends: int
    token: Token | None = None


@dataclass
class World:
    secrets: list[Held] = field(default_factory=list)
    browsers: list[Held] = field(default_factory=list)


class AccessMachine(RuleBasedStateMachine):
    """The account of one user, between its owner, a thief and staff."""

    def __init__(self) -> None:
        super().__init__()
        self.transaction = transaction.atomic()
        self.transaction.__enter__()
        mail.outbox.clear()
        last = ProcrastinateJob.objects.order_by("-id").first()
        self.delivered = last.id if last else 0

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.transaction.__exit__(None, None, None)

    @initialize(verified=st.booleans())
    def begin(self, verified: bool) -> None:
        proven = timezone.now() if verified else None
        self.user = UserFactory.create(username="owner", email=HOME, email_verified_at=proven)
        self.staff = StaffFactory.create(username="staff")
        self.world = World()
        self.ends = 0
        self.password = PASSWORD
        self.asked = {HOME}
        """Addresses that were asked for since access ended last, and the one there was then."""

    def fresh(self) -> User:
        return User.objects.get(pk=self.user.pk)

    def ended(self) -> None:
        self.ends += 1
        self.asked = {self.fresh().email}

    # What anybody may do who knows the password, or has a session or a token

    @rule(scope=st.sampled_from([Scope.AUTH, Scope.SIGN_IN]))
    def issue(self, scope: Scope) -> None:
        token, secret = tokens.issue(self.fresh(), scope=scope, now=timezone.now())
        self.world.secrets.append(Held((scope, secret.text), self.ends, token))

    @rule(data=st.data())
    def issue_by_a_token(self, data: st.DataObject) -> None:
        living = [one for one in self.world.secrets if one.what[0] == Scope.AUTH and opens(one)]
        if living:
            parent = data.draw(st.sampled_from(living)).token
            now = timezone.now()
            token, secret = tokens.issue(self.fresh(), scope=Scope.AUTH, now=now, parent=parent)
            self.world.secrets.append(Held((Scope.AUTH, secret.text), self.ends, token))

    @rule()
    def sign_in(self) -> None:
        browser = Client()
        browser.force_login(self.fresh())
        self.world.browsers.append(Held(browser, self.ends))

    @rule(email=st.sampled_from(OWNERS + THIEFS))
    def ask_for_another_address(self, email: str) -> None:
        try:
            verification.request_email_change(self.fresh(), email)
        except ValidationError:
            return
        self.asked.add(email)

    @rule()
    def keep_the_address(self) -> None:
        verification.cancel_change(self.fresh())

    # What a stranger may do

    @rule(email=st.sampled_from(OWNERS + THIEFS), again=st.booleans())
    def ask_for_mail(self, email: str, again: bool) -> None:
        if again:
            registrations.resend_links(email)
        else:
            passwords.request_reset(email)

    @rule()
    def worker_sends_mail(self) -> None:
        jobs = ProcrastinateJob.objects.filter(
            task_name="accounts.tasks.send_mail", id__gt=self.delivered
        )
        for job in list(jobs.order_by("id")):
            tasks.send_mail(**job.args)
            self.delivered = job.id
        for message in mail.outbox:
            for secret in re.findall(r"ts[vr]_[0-9A-Za-z]{49}", str(message.body)):
                assert set(message.to) <= self.asked
                self.world.secrets.append(Held((SCOPES[secret[:3]], secret), self.ends))
        mail.outbox.clear()

    @rule(data=st.data())
    def verify(self, data: st.DataObject) -> None:
        held = self.draw(data, Scope.EMAIL_VERIFICATION)
        if held and worked(
            lambda: registrations.verify_email_or_complete(
                held.what[1], by=self.fresh(), now=timezone.now()
            )
        ):
            assert held.ends == self.ends

    # What ends access

    @rule(password=st.sampled_from(PASSWORDS))
    def change_the_password(self, password: str) -> None:
        passwords.set_password(self.fresh(), password)
        self.ended()

    @rule(data=st.data(), password=st.sampled_from(PASSWORDS))
    def reset(self, data: st.DataObject, password: str) -> None:
        held = self.draw(data, Scope.PASSWORD_RESET)
        if held is None:
            return
        unproven = self.fresh().email_verified_at is None
        if worked(lambda: passwords.reset_with_token(held.what[1], password, now=timezone.now())):
            assert held.ends == self.ends
            assert not (unproven and mfa.is_enabled(self.fresh()))
            self.ended()

    @rule()
    def staff_sign_out(self) -> None:
        permissions.revoke_access(self.fresh(), by=self.staff)
        self.ended()

    @rule()
    def staff_deactivate_and_reactivate(self) -> None:
        permissions.deactivate(self.fresh(), by=self.staff)
        permissions.reactivate(self.fresh(), by=self.staff)
        self.ended()

    @rule()
    def staff_move_the_address(self) -> None:
        browser = Client()
        browser.force_login(self.staff)
        user = self.fresh()
        email = OWNERS[1] if user.email == OWNERS[0] else OWNERS[0]
        form = {"username": user.username, "email": email, "time_zone": "UTC"}
        path = f"/admin/accounts/user/{user.pk}/change/"
        form |= opened_with(browser, path)
        assert browser.post(path, form).status_code == 302
        self.ended()

    @rule()
    def switch_the_second_factor_on_or_off(self) -> None:
        if mfa.is_enabled(self.fresh()):
            mfa.disable(self.fresh())
        else:
            second_factor_of(self.fresh(), now=timezone.now() - timedelta(minutes=2))
            self.ended()

    # What must hold at any time

    @invariant()
    def nothing_from_before_the_last_end_opens_anything(self) -> None:
        if not hasattr(self, "user"):
            return
        assert [one for one in self.world.secrets if one.ends < self.ends and opens(one)] == []
        for one in self.world.browsers:
            if one.ends < self.ends:
                assert one.what.get("/account").status_code == 302

    @invariant()
    def no_child_outlives_its_parent(self) -> None:
        living = Token.objects.filter(revoked=False, parent__isnull=False)
        assert not living.filter(parent__revoked=True).exists()

    @invariant()
    def the_address_is_one_that_was_asked_for(self) -> None:
        if hasattr(self, "user"):
            user = self.fresh()
            assert user.email in self.asked
            assert user.pending_email in {"", *self.asked}

    def draw(self, data: st.DataObject, scope: Scope) -> Held | None:
        held = [one for one in self.world.secrets if one.what[0] == scope]
        return data.draw(st.sampled_from(held)) if held else None


def opens(held: Held) -> bool:
    scope, secret = held.what
    return worked(lambda: tokens.get_active(secret, scope=scope, now=timezone.now()))


def worked(what: Any) -> bool:
    try:
        what()
    except tokens.InvalidToken:
        return False
    return True


def test_nothing_from_before_an_end_of_access_opens_the_account(db: None) -> None:
    run_state_machine_as_test(
        AccessMachine,
        settings=hypothesis_settings(
            max_examples=20, stateful_step_count=25, deadline=None, derandomize=True
        ),
    )
