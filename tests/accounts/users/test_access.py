"""Events that end access, such as a password change, also end what is pending."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.models import Permission
from django.test import Client
from django.utils import timezone

from accounts.email import verification
from accounts.mfa import services as mfa
from accounts.models import AccessEnded, Session, Token, User
from accounts.passwords import services as passwords
from accounts.registration import services as registrations
from accounts.tokens import services as tokens
from accounts.users import access, permissions
from accounts.users.admin import UserForm
from devices import services as device_services
from devices.models import Device
from tests.admin import initial_values_field
from tests.conftest import Api, signed_in
from tests.factories import (
    PASSWORD,
    UserFactory,
    device_token,
    enable_mfa,
    user_token,
    user_token_and_row,
)
from tests.mail import Inbox, secret_of

NEW = "a quite long sentence"
EVIL = "attacker@evil.example"
ME = "/api/v1/users/me"


def reset_by_mail(email: str, inbox: Inbox, api: Api) -> None:
    """Reset the password by mail, as the owner of the mailbox does."""
    assert api.post("/api/v1/auth/password-reset", {"email": email}).status_code == 202
    inbox.deliver()
    body = {"token": secret_of(inbox.to(email)[-1]), "password": NEW}
    assert api.post("/api/v1/auth/password-reset/confirm", body).status_code == 204


class TestTakeover:
    def test_a_password_reset_cancels_an_email_change_by_a_thief(
        self, owner: User, inbox: Inbox, anonymous_api: Api
    ) -> None:
        thief = Api(user_token(owner))
        asked = thief.patch(ME, {"email": EVIL, "password": PASSWORD})
        assert asked.json()["pending_email"] == EVIL
        inbox.deliver()
        link = secret_of(inbox.to(EVIL)[0])

        reset_by_mail(owner.email, inbox, anonymous_api)
        assert thief.get(ME).status_code == 401
        owner.refresh_from_db()
        assert owner.pending_email == ""

        anonymous_api.post("/api/v1/auth/verify-email/resend", {"email": EVIL})
        anonymous_api.post("/api/v1/auth/password-reset", {"email": EVIL})
        inbox.deliver()
        assert len(inbox.to(EVIL)) == 1
        response = anonymous_api.post("/api/v1/auth/verify-email", {"token": link})
        assert response.status_code == 422
        owner.refresh_from_db()
        assert owner.email == "owner@example.org"

    def test_a_password_reset_of_an_unverified_account_ends_all_access_of_its_creator(
        self, inbox: Inbox, anonymous_api: Api, settings: Any
    ) -> None:
        settings.ALLOW_UNVERIFIED_LOGIN, settings.REGISTRATION_MODE = True, "open"
        victim = "victim@example.org"
        body = {"username": "hijacker", "email": victim, "password": PASSWORD}
        anonymous_api.post("/api/v1/auth/register", body)
        hijacker = User.objects.get()
        login = {"username": "hijacker", "password": PASSWORD}
        thief = Api(anonymous_api.post("/api/v1/auth/login", login).json()["token"])
        thief.patch(ME, {"email": EVIL, "password": PASSWORD})
        inbox.deliver()
        link = secret_of(inbox.to(EVIL)[0])
        thief_totp = enable_mfa(hijacker, now=timezone.now() - timedelta(minutes=2))
        browser = signed_in(User.objects.get())
        late = Api(user_token(User.objects.get()))

        reset_by_mail(victim, inbox, anonymous_api)
        assert browser.get("/account").status_code == 302
        for api in (thief, late):
            assert api.get(ME).status_code == 401
        assert anonymous_api.post("/api/v1/auth/verify-email", {"token": link}).status_code == 422
        anonymous_api.post("/api/v1/auth/verify-email/resend", {"email": EVIL})
        inbox.deliver()
        assert len(inbox.to(EVIL)) == 1
        with pytest.raises(mfa.InvalidCode):
            mfa.verify_code(hijacker, thief_totp.at(timezone.now()), now=timezone.now())
        response = anonymous_api.post("/api/v1/auth/login", {"email": victim, "password": NEW})
        assert Api(response.json()["token"]).get(ME).json()["email"] == victim

    def test_a_password_reset_keeps_mfa_of_a_verified_user(
        self, owner: User, inbox: Inbox, anonymous_api: Api
    ) -> None:
        enable_mfa(owner, now=timezone.now())
        reset_by_mail(owner.email, inbox, anonymous_api)
        assert mfa.is_enabled(owner)

    def test_a_link_verifies_only_the_email_that_it_was_sent_to(self, inbox: Inbox) -> None:
        user = UserFactory.create(username="ada", email_verified_at=None)
        registrations.resend_links(user.email)
        inbox.deliver()
        link = secret_of(inbox.to(user.email)[0])
        User.objects.update(pending_email=EVIL)
        registrations.verify_email_or_complete(link, password=PASSWORD, now=timezone.now())
        user.refresh_from_db()
        assert (user.email, user.pending_email) == ("ada@example.org", "")


def change_password(user: User, _staff: Client) -> None:
    passwords.set_password(user, NEW)


def set_password_by_staff(user: User, staff: Client) -> None:
    form = {"password1": NEW, "password2": NEW, "usable_password": "true"}
    path = f"/admin/accounts/user/{user.pk}/password/"
    assert staff.post(path, form).status_code == 302


def change_email_by_staff(user: User, staff: Client) -> None:
    form = {"username": user.username, "email": "moved@example.org", "time_zone": "UTC"}
    path = f"/admin/accounts/user/{user.pk}/change/"
    assert staff.post(path, form | initial_values_field(staff, path)).status_code == 302


def sign_out_by_staff(user: User, staff: Client) -> None:
    act(user, staff, "sign_out")


def deactivate_and_reactivate(user: User, staff: Client) -> None:
    act(user, staff, "deactivate")
    act(user, staff, "reactivate")


def enable_mfa_by_user(user: User, _staff: Client) -> None:
    enable_mfa(user, now=timezone.now() - timedelta(minutes=2))


def act(user: User, staff: Client, action: str) -> None:
    body = {"action": action, "_selected_action": [str(user.pk)], "confirmed": "yes"}
    assert staff.post("/admin/accounts/user/", body).status_code == 302


EVENTS = [
    change_password,
    set_password_by_staff,
    change_email_by_staff,
    sign_out_by_staff,
    deactivate_and_reactivate,
    enable_mfa_by_user,
]


@pytest.mark.parametrize("event", EVENTS)
def test_each_event_ends_tokens_sessions_and_pending_logins(
    event: Callable[[User, Client], None], owner: User, staff_client: Client, device: Device
) -> None:
    now = timezone.now()
    browser, devices = signed_in(owner), Api(device_token(device))
    password_entered_client = Client()
    enable_mfa(owner, now=now)
    owner.refresh_from_db()
    password_entered_client.post("/sign-in", {"username": "owner", "password": PASSWORD})
    mfa.disable(owner)
    verification.request_email_change(owner, EVIL)
    secrets = {
        scope: tokens.issue(owner, scope=scope, now=now, sent_to=EVIL)[1].text
        for scope in tokens.Scope
    }
    event(owner, staff_client)
    for scope, secret in secrets.items():
        with pytest.raises(tokens.InvalidToken):
            tokens.get_active(secret, scope=scope, now=now)
    assert browser.get("/account").status_code == 302
    assert password_entered_client.get("/sign-in/code").headers["Location"] == "/sign-in"
    owner.refresh_from_db()
    assert owner.pending_email == ""
    assert not Session.objects.filter(user=owner).exists()
    assert devices.get("/api/v1/device").status_code == 200


class TestStaleRequests:
    """A request that authenticated before access ended is rejected when it writes afterwards."""

    @pytest.fixture
    def stale(self, owner: User) -> User:
        """The user row as it was before access ended."""
        stale = User.objects.get(pk=owner.pk)
        access.end_access(owner)
        return stale

    @pytest.mark.parametrize(
        "work",
        [
            lambda user: tokens.issue(user, scope=Token.Scope.AUTH, now=timezone.now()),
            lambda user: verification.request_email_change(user, EVIL),
            lambda user: passwords.set_password(user, NEW),
            lambda user: enable_mfa(user, now=timezone.now()),
        ],
    )
    def test_a_stale_request_creates_nothing(
        self, stale: User, work: Callable[[User], Any]
    ) -> None:
        with pytest.raises(AccessEnded):
            work(stale)

    def test_a_stale_request_does_not_sign_in(self, stale: User) -> None:
        assert signed_in(stale).get("/account").status_code == 302

    def test_a_token_that_was_revoked_concurrently_issues_no_token(self, owner: User) -> None:
        parent, _ = user_token_and_row(owner)
        tokens.revoke(parent)
        with pytest.raises(AccessEnded):
            tokens.issue(owner, scope=Token.Scope.AUTH, now=timezone.now(), parent=parent)


def test_a_form_of_staff_does_not_restore_what_ended_concurrently(
    owner: User, staff_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean = UserForm.clean

    def change_the_password_and_clean(form: UserForm) -> Any:
        """Change the password after the form has read the row and before it saves."""
        passwords.set_password(User.objects.get(pk=owner.pk), NEW)
        return clean(form)

    verification.request_email_change(owner, EVIL)
    path = f"/admin/accounts/user/{owner.pk}/change/"
    form = {"username": "renamed", "email": owner.email, "time_zone": "UTC"}
    form |= initial_values_field(staff_client, path)
    monkeypatch.setattr(UserForm, "clean", change_the_password_and_clean)
    staff_client.post(path, form)
    owner.refresh_from_db()
    assert (owner.username, owner.pending_email) == ("renamed", "")
    assert owner.check_password(NEW)


class TestInvitingOverTheApi:
    @pytest.mark.parametrize("allowed", [True, False])
    def test_an_invitation_needs_the_same_permission_as_in_the_admin(
        self, allowed: bool, db: None
    ) -> None:
        helper = UserFactory.create(is_staff=True)
        if allowed:
            helper.user_permissions.add(Permission.objects.get(codename="add_registration"))
        body = {"email": "new@example.org"}
        response = Api(user_token(helper)).post("/api/v1/invitations", body)
        assert response.status_code == (202 if allowed else 403)
        page = signed_in(helper).get("/admin/accounts/registration/add/")
        assert page.status_code == (200 if allowed else 403)


class TestTransferOfADevice:
    def test_a_transfer_revokes_a_token_that_was_never_used(
        self, device: Device, stranger: User, now: Any
    ) -> None:
        used, kept = device_token(device), device_token(device)
        assert Api(used).get("/api/v1/device").status_code == 200
        device_services.transfer([device], stranger, now=now)
        assert Api(used).get("/api/v1/device").status_code == 200
        assert Api(kept).get("/api/v1/device").status_code == 401

    def test_a_transfer_revokes_all_tokens_if_staff_choose_it(
        self, device: Device, stranger: User, staff_client: Client
    ) -> None:
        used = device_token(device)
        assert Api(used).get("/api/v1/device").status_code == 200
        body = {"action": "change_owner", "_selected_action": [str(device.pk)]}
        form = {"confirmed": "yes", "user": stranger.pk, "revoke_tokens": "on"}
        staff_client.post("/admin/devices/device/", {**body, **form})
        assert Api(used).get("/api/v1/device").status_code == 401


def test_a_reactivated_user_has_no_old_tokens(owner: User, staff: User, owner_api: Api) -> None:
    permissions.deactivate(owner, actor=staff)
    permissions.reactivate(owner, actor=staff)
    assert owner_api.get("/api/v1/devices").status_code == 401
    assert authenticate(username="owner", password=PASSWORD) == owner
