"""State machine: in any order of events, what was issued before access ended is rejected after.

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
from tests.admin import initial_values_field
from tests.factories import PASSWORD, StaffFactory, UserFactory, enable_mfa

OWNER_EMAIL = "owner@example.org"
OWNER_EMAILS = [OWNER_EMAIL, "moved@example.org"]
pytestmark = pytest.mark.unmeasured

THIEF_EMAILS = ["thief@evil.example", "other@evil.example"]
SCOPES = {"tsv": Scope.EMAIL_VERIFICATION, "tsr": Scope.PASSWORD_RESET}
PASSWORDS = [PASSWORD, "a quite long sentence", "another long sentence"]


@dataclass
class Credential:
    """A token or client, and how often access had ended when it was created."""

    value: Any
    ends: int
    token: Token | None = None


@dataclass
class Credentials:
    secrets: list[Credential] = field(default_factory=list)
    browsers: list[Credential] = field(default_factory=list)


class AccessMachine(RuleBasedStateMachine):
    """The account of one user, used by its owner, a thief and staff."""

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
    def set_up(self, verified: bool) -> None:
        verified_at = timezone.now() if verified else None
        self.user = UserFactory.create(
            username="owner", email=OWNER_EMAIL, email_verified_at=verified_at
        )
        self.staff = StaffFactory.create(username="staff")
        self.credentials = Credentials()
        self.ends = 0
        self.password = PASSWORD
        self.requested_emails = {OWNER_EMAIL}
        """E-mails requested since access last ended, and the e-mail of that time."""

    def load_user(self) -> User:
        return User.objects.get(pk=self.user.pk)

    def record_end_of_access(self) -> None:
        self.ends += 1
        self.requested_emails = {self.load_user().email}

    # Actions of a client that knows the password or has a session or a token

    @rule(scope=st.sampled_from([Scope.AUTH, Scope.SIGN_IN]))
    def issue(self, scope: Scope) -> None:
        token, secret = tokens.issue(self.load_user(), scope=scope, now=timezone.now())
        self.credentials.secrets.append(Credential((scope, secret.text), self.ends, token))

    @rule(data=st.data())
    def issue_by_a_token(self, data: st.DataObject) -> None:
        active = [
            one
            for one in self.credentials.secrets
            if one.value[0] == Scope.AUTH and is_accepted(one)
        ]
        if active:
            parent = data.draw(st.sampled_from(active)).token
            now = timezone.now()
            token, secret = tokens.issue(self.load_user(), scope=Scope.AUTH, now=now, parent=parent)
            self.credentials.secrets.append(Credential((Scope.AUTH, secret.text), self.ends, token))

    @rule()
    def sign_in(self) -> None:
        browser = Client()
        browser.force_login(self.load_user())
        self.credentials.browsers.append(Credential(browser, self.ends))

    @rule(email=st.sampled_from(OWNER_EMAILS + THIEF_EMAILS))
    def request_email_change(self, email: str) -> None:
        try:
            verification.request_email_change(self.load_user(), email)
        except ValidationError:
            return
        self.requested_emails.add(email)

    @rule()
    def cancel_email_change(self) -> None:
        verification.cancel_change(self.load_user())

    # Actions of an anonymous client

    @rule(email=st.sampled_from(OWNER_EMAILS + THIEF_EMAILS), again=st.booleans())
    def request_mail(self, email: str, again: bool) -> None:
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
                assert set(message.to) <= self.requested_emails
                self.credentials.secrets.append(Credential((SCOPES[secret[:3]], secret), self.ends))
        mail.outbox.clear()

    @rule(data=st.data())
    def verify(self, data: st.DataObject) -> None:
        credential = self.draw(data, Scope.EMAIL_VERIFICATION)
        if credential and succeeds(
            lambda: registrations.verify_email_or_complete(
                credential.value[1], actor=self.load_user(), now=timezone.now()
            )
        ):
            assert credential.ends == self.ends

    # Events that end access

    @rule(password=st.sampled_from(PASSWORDS))
    def change_the_password(self, password: str) -> None:
        passwords.set_password(self.load_user(), password)
        self.record_end_of_access()

    @rule(data=st.data(), password=st.sampled_from(PASSWORDS))
    def reset(self, data: st.DataObject, password: str) -> None:
        credential = self.draw(data, Scope.PASSWORD_RESET)
        if credential is None:
            return
        unverified = self.load_user().email_verified_at is None
        if succeeds(
            lambda: passwords.reset_with_token(credential.value[1], password, now=timezone.now())
        ):
            assert credential.ends == self.ends
            assert not (unverified and mfa.is_enabled(self.load_user()))
            self.record_end_of_access()

    @rule()
    def staff_sign_out(self) -> None:
        permissions.revoke_access(self.load_user(), actor=self.staff)
        self.record_end_of_access()

    @rule()
    def staff_deactivate_and_reactivate(self) -> None:
        permissions.deactivate(self.load_user(), actor=self.staff)
        permissions.reactivate(self.load_user(), actor=self.staff)
        self.record_end_of_access()

    @rule()
    def staff_change_the_email(self) -> None:
        browser = Client()
        browser.force_login(self.staff)
        user = self.load_user()
        email = OWNER_EMAILS[1] if user.email == OWNER_EMAILS[0] else OWNER_EMAILS[0]
        form = {"username": user.username, "email": email, "time_zone": "UTC"}
        path = f"/admin/accounts/user/{user.pk}/change/"
        form |= initial_values_field(browser, path)
        assert browser.post(path, form).status_code == 302
        self.record_end_of_access()

    @rule()
    def toggle_mfa(self) -> None:
        if mfa.is_enabled(self.load_user()):
            mfa.disable(self.load_user())
        else:
            enable_mfa(self.load_user(), now=timezone.now() - timedelta(minutes=2))
            self.record_end_of_access()

    # Invariants

    @invariant()
    def nothing_issued_before_the_last_end_is_accepted(self) -> None:
        if not hasattr(self, "user"):
            return
        assert [
            one for one in self.credentials.secrets if one.ends < self.ends and is_accepted(one)
        ] == []
        for one in self.credentials.browsers:
            if one.ends < self.ends:
                assert one.value.get("/account").status_code == 302

    @invariant()
    def no_child_of_a_revoked_token_is_active(self) -> None:
        active = Token.objects.filter(revoked=False, parent__isnull=False)
        assert not active.filter(parent__revoked=True).exists()

    @invariant()
    def the_email_is_one_that_was_requested(self) -> None:
        if hasattr(self, "user"):
            user = self.load_user()
            assert user.email in self.requested_emails
            assert user.pending_email in {"", *self.requested_emails}

    def draw(self, data: st.DataObject, scope: Scope) -> Credential | None:
        found = [one for one in self.credentials.secrets if one.value[0] == scope]
        return data.draw(st.sampled_from(found)) if found else None


def is_accepted(credential: Credential) -> bool:
    scope, secret = credential.value
    return succeeds(lambda: tokens.get_active(secret, scope=scope, now=timezone.now()))


def succeeds(action: Any) -> bool:
    try:
        action()
    except tokens.InvalidToken:
        return False
    return True


def test_nothing_issued_before_access_ended_is_accepted_after_it(db: None) -> None:
    run_state_machine_as_test(
        AccessMachine,
        settings=hypothesis_settings(
            max_examples=20, stateful_step_count=25, deadline=None, derandomize=True
        ),
    )
