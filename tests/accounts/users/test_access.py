"""Every event that ends access ends all that was unfinished, too."""

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
from tests.admin import opened_with
from tests.conftest import Api, signed_in
from tests.factories import (
    PASSWORD,
    UserFactory,
    device_token,
    second_factor_of,
    user_token,
    user_token_and_row,
)
from tests.mail import Inbox, secret_of

NEW = "a quite long sentence"
EVIL = "attacker@evil.example"
ME = "/api/v1/users/me"


def reset_by_mail(email: str, inbox: Inbox, api: Api) -> None:
    """What the owner of a mailbox does to get an account back."""
    assert api.post("/api/v1/auth/password-reset", {"email": email}).status_code == 202
    inbox.deliver()
    body = {"token": secret_of(inbox.to(email)[-1]), "password": NEW}
    assert api.post("/api/v1/auth/password-reset/confirm", body).status_code == 204


class TestTakeover:
    def test_an_address_that_a_thief_asked_for_is_not_theirs_after_the_owner_recovers(
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
        answer = anonymous_api.post("/api/v1/auth/verify-email", {"token": link})
        assert answer.status_code == 422
        owner.refresh_from_db()
        assert owner.email == "owner@example.org"

    def test_somebody_who_claimed_an_address_keeps_nothing_once_its_owner_recovers_it(
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
        thiefs_phone = second_factor_of(hijacker, now=timezone.now() - timedelta(minutes=2))
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
            mfa.verify_code(hijacker, thiefs_phone.at(timezone.now()), now=timezone.now())
        answer = anonymous_api.post("/api/v1/auth/login", {"email": victim, "password": NEW})
        assert Api(answer.json()["token"]).get(ME).json()["email"] == victim

    def test_the_second_factor_of_who_has_proven_the_address_stays(
        self, owner: User, inbox: Inbox, anonymous_api: Api
    ) -> None:
        second_factor_of(owner, now=timezone.now())
        reset_by_mail(owner.email, inbox, anonymous_api)
        assert mfa.is_enabled(owner)

    def test_a_link_proves_no_address_but_the_one_it_was_sent_to(self, inbox: Inbox) -> None:
        user = UserFactory.create(username="ada", email_verified_at=None)
        registrations.resend_links(user.email)
        inbox.deliver()
        link = secret_of(inbox.to(user.email)[0])
        User.objects.update(pending_email=EVIL)
        registrations.verify_email_or_complete(link, password=PASSWORD, now=timezone.now())
        user.refresh_from_db()
        assert (user.email, user.pending_email) == ("ada@example.org", "")


def by_the_user(user: User, _staff: Client) -> None:
    passwords.set_password(user, NEW)


def by_staff(user: User, staff: Client) -> None:
    form = {"password1": NEW, "password2": NEW, "usable_password": "true"}
    path = f"/admin/accounts/user/{user.pk}/password/"
    assert staff.post(path, form).status_code == 302


def by_another_address(user: User, staff: Client) -> None:
    form = {"username": user.username, "email": "moved@example.org", "time_zone": "UTC"}
    path = f"/admin/accounts/user/{user.pk}/change/"
    assert staff.post(path, form | opened_with(staff, path)).status_code == 302


def signed_out(user: User, staff: Client) -> None:
    act(user, staff, "sign_out")


def deactivated(user: User, staff: Client) -> None:
    act(user, staff, "deactivate")
    act(user, staff, "reactivate")


def with_a_second_factor(user: User, _staff: Client) -> None:
    second_factor_of(user, now=timezone.now() - timedelta(minutes=2))


def act(user: User, staff: Client, action: str) -> None:
    body = {"action": action, "_selected_action": [str(user.pk)], "confirmed": "yes"}
    assert staff.post("/admin/accounts/user/", body).status_code == 302


EVENTS = [
    by_the_user,
    by_staff,
    by_another_address,
    signed_out,
    deactivated,
    with_a_second_factor,
]


@pytest.mark.parametrize("event", EVENTS)
def test_each_event_ends_everything_that_opened_the_account(
    event: Callable[[User, Client], None], owner: User, staff_client: Client, device: Device
) -> None:
    now = timezone.now()
    browser, devices = signed_in(owner), Api(device_token(device))
    half_way = Client()
    second_factor_of(owner, now=now)
    owner.refresh_from_db()
    half_way.post("/sign-in", {"username": "owner", "password": PASSWORD})
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
    assert half_way.get("/sign-in/code").headers["Location"] == "/sign-in"
    owner.refresh_from_db()
    assert owner.pending_email == ""
    assert not Session.objects.filter(user=owner).exists()
    assert devices.get("/api/v1/device").status_code == 200


class TestProofsFromBefore:
    """Two requests at once: what one has proved is void once the other has ended access."""

    @pytest.fixture
    def stale(self, owner: User) -> User:
        """The user as a request has read them that is still at work when access ends."""
        stale = User.objects.get(pk=owner.pk)
        access.end_access(owner)
        return stale

    @pytest.mark.parametrize(
        "work",
        [
            lambda user: tokens.issue(user, scope=Token.Scope.AUTH, now=timezone.now()),
            lambda user: verification.request_email_change(user, EVIL),
            lambda user: passwords.set_password(user, NEW),
            lambda user: second_factor_of(user, now=timezone.now()),
        ],
    )
    def test_they_make_nothing_new(self, stale: User, work: Callable[[User], Any]) -> None:
        with pytest.raises(AccessEnded):
            work(stale)

    def test_they_sign_nobody_in(self, stale: User) -> None:
        assert signed_in(stale).get("/account").status_code == 302

    def test_a_token_that_was_revoked_meanwhile_makes_none(self, owner: User) -> None:
        parent, _ = user_token_and_row(owner)
        tokens.revoke(parent)
        with pytest.raises(AccessEnded):
            tokens.issue(owner, scope=Token.Scope.AUTH, now=timezone.now(), parent=parent)


def test_a_form_of_staff_brings_back_nothing_that_ended_meanwhile(
    owner: User, staff_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean = UserForm.clean

    def change_the_password_and_clean(form: UserForm) -> Any:
        """The form has read the row by now, and has not saved it yet."""
        passwords.set_password(User.objects.get(pk=owner.pk), NEW)
        return clean(form)

    verification.request_email_change(owner, EVIL)
    path = f"/admin/accounts/user/{owner.pk}/change/"
    form = {"username": "renamed", "email": owner.email, "time_zone": "UTC"}
    form |= opened_with(staff_client, path)
    monkeypatch.setattr(UserForm, "clean", change_the_password_and_clean)
    staff_client.post(path, form)
    owner.refresh_from_db()
    assert (owner.username, owner.pending_email) == ("renamed", "")
    assert owner.check_password(NEW)


class TestResend:
    def test_the_user_who_asked_for_a_change_gets_its_link_again(
        self, owner: User, owner_api: Api, owner_client: Client, inbox: Inbox
    ) -> None:
        verification.request_email_change(owner, "new@example.org")
        assert owner_api.post("/api/v1/auth/address/resend").status_code == 202
        assert b"Send the mail again" in owner_client.get("/account").content
        assert owner_client.post("/account/address/resend").status_code == 302
        inbox.deliver()
        links = [secret_of(mail) for mail in inbox.to("new@example.org")]
        assert len(set(links)) == 3
        registrations.verify_email_or_complete(links[2], password=PASSWORD, now=timezone.now())
        owner.refresh_from_db()
        assert owner.email == "new@example.org"

    def test_where_nothing_is_to_be_confirmed_nothing_is_mailed(
        self, owner_api: Api, owner_client: Client, inbox: Inbox
    ) -> None:
        answer = owner_api.post("/api/v1/auth/address/resend")
        assert (answer.status_code, answer.json()["type"]) == (
            409,
            "urn:telemetry:problem:nothing-to-prove",
        )
        assert owner_client.post("/account/address/resend").status_code == 302
        assert inbox.deliver() == 0

    def test_nobody_else_has_the_link_of_a_change_mailed(
        self, owner: User, anonymous_api: Api, client: Client, inbox: Inbox
    ) -> None:
        verification.request_email_change(owner, EVIL)
        inbox.deliver()
        anonymous_api.post("/api/v1/auth/verify-email/resend", {"email": EVIL})
        client.post("/verify-email/again", {"email": EVIL})
        inbox.deliver()
        assert len(inbox.to(EVIL)) == 1

    def test_it_is_counted_like_every_mail(
        self, owner: User, owner_api: Api, settings: Any
    ) -> None:
        settings.RATE_LIMITS = {**settings.RATE_LIMITS, "mail": (1, 3600)}
        verification.request_email_change(owner, "new@example.org")
        assert owner_api.post("/api/v1/auth/address/resend").status_code == 202
        assert owner_api.post("/api/v1/auth/address/resend").status_code == 429


class TestSpellings:
    """What the database takes for the same in capitals is not always counted as the same."""

    def test_no_other_spelling_of_a_name_gives_more_tries(
        self, owner: User, anonymous_api: Api, settings: Any
    ) -> None:
        settings.RATE_LIMITS = {**settings.RATE_LIMITS, "sign-in": (3, 900)}
        UserFactory.create(username="alice", email="alice@example.org")

        def status(name: str, password: str) -> int:
            body = {"username": name, "password": password}
            return anonymous_api.post("/api/v1/auth/login", body).status_code

        for name in ("alice", "alice@example.org"):
            assert [status(name, "wrong") for _ in range(4)] == [401, 401, 401, 429]
            for other in ("al\u0131ce", "AL\u0130CE", "\uff41lice", "Alice", "aLICe"):
                assert status(name.replace("alice", other), PASSWORD) in (401, 429)

    def test_an_address_in_another_spelling_has_nothing_mailed(
        self, inbox: Inbox, anonymous_api: Api, settings: Any
    ) -> None:
        settings.REGISTRATION_MODE = "open"
        UserFactory.create(username="mia", email="mia@example.org")
        UserFactory.create(username="kim", email="kim@example.org", email_verified_at=None)
        for address in ("m\u0131a@example.org", "k\u0131m@example.org"):
            passwords.request_reset(address)
            registrations.resend_links(address)
        inbox.deliver()
        assert inbox.mails == []


class TestRegistrationTellsNothing:
    @pytest.fixture(autouse=True)
    def _at_once(self, settings: Any, owner: User) -> None:
        settings.ALLOW_UNVERIFIED_LOGIN, settings.REGISTRATION_MODE = True, "open"

    def answers(self, api: Api, client: Client, name: str, email: str) -> list[Any]:
        """All that somebody can see who registers with this address."""
        body = {"username": name, "email": email, "password": NEW}
        register, login = "/api/v1/auth/register", "/api/v1/auth/login"
        seen: list[Any] = [api.post(register, body).status_code for _ in range(2)]
        seen.append(client.post("/sign-up", body).status_code)
        seen.append(api.post(login, {"email": email, "password": NEW}).status_code)
        answer = api.post(login, {"username": name, "password": NEW})
        mine = Api(answer.json()["token"])
        seen.append(mine.post("/api/v1/auth/address/resend").status_code)
        profile = mine.get(ME).json()
        told = {key: str(profile[key]).replace(email, "…") for key in profile if key != "id"}
        return [*seen, {**told, "username": "", "created_at": ""}]

    @pytest.mark.parametrize("verified", [True, False])
    def test_whether_an_address_is_known(
        self, anonymous_api: Api, client: Client, owner: User, verified: bool
    ) -> None:
        if not verified:
            User.objects.update(email_verified_at=None)
        known = self.answers(anonymous_api, client, "eve", "owner@example.org")
        unknown = self.answers(anonymous_api, client, "mallory", "nobody@example.org")
        assert known == unknown
        assert known[:4] == [202, 422, 422, 401]


class TestTokensOfTokens:
    def make(self, api: Api, **body: Any) -> Any:
        return api.post("/api/v1/tokens", body)

    def test_a_token_expires_with_the_one_that_made_it(self, owner: User) -> None:
        parent, _secret = tokens.issue(
            owner, scope=Token.Scope.AUTH, now=timezone.now(), lifetime=timedelta(seconds=60)
        )
        answer = self.make(Api(_secret.text), expires_in=5 * 365 * 86400).json()
        assert answer["parent"] == str(parent.pk)
        assert Token.objects.get(pk=answer["id"]).expires_at == parent.expires_at

    def test_a_token_ends_with_the_one_that_made_it_and_so_on(self, owner: User) -> None:
        parent, secret = user_token_and_row(owner)
        child = self.make(Api(secret)).json()["token"]
        grandchild = self.make(Api(child)).json()["token"]
        tokens.revoke(parent)
        for one in (secret, child, grandchild):
            assert Api(one).get("/api/v1/devices").status_code == 401

    @pytest.mark.parametrize("end", ["logout", "rotate"])
    def test_whatever_ends_it_ends_what_it_made(self, owner: User, end: str) -> None:
        parent, secret = user_token_and_row(owner)
        child = self.make(Api(secret)).json()["token"]
        if end == "logout":
            Api(secret).post("/api/v1/auth/logout")
        else:
            signed_in(owner).post(f"/tokens/{parent.pk}/rotate")
        assert Api(child).get("/api/v1/devices").status_code == 401

    def test_one_that_is_kept_after_a_new_password_depends_on_no_other(self, owner: User) -> None:
        _parent, secret = user_token_and_row(owner)
        child = Api(self.make(Api(secret)).json()["token"])
        body = {"current": PASSWORD, "new": NEW}
        assert child.post("/api/v1/auth/password", body).status_code == 204
        assert Api(secret).get("/api/v1/devices").status_code == 401
        assert child.get("/api/v1/devices").status_code == 200
        assert Token.objects.get(revoked=False).parent is None

    def test_with_a_second_factor_a_token_makes_none_without_a_code(self, owner: User) -> None:
        twin = second_factor_of(owner, now=timezone.now() - timedelta(minutes=2))
        api = Api(user_token(owner))
        for body in ({}, {"code": "000000"}):
            answer = self.make(api, **body)
            assert (answer.status_code, answer.json()["type"]) == (
                403,
                "urn:telemetry:problem:second-factor-required",
            )
        assert self.make(api, code=twin.at(timezone.now())).status_code == 201

    def test_nor_does_a_browser_that_was_not_asked_for_one(self, owner: User) -> None:
        twin = second_factor_of(owner, now=timezone.now() - timedelta(minutes=2))
        token, _ = user_token_and_row(owner)
        for path in ("/tokens/new", f"/tokens/{token.pk}/rotate"):
            answer = signed_in(owner).post(path, {"label": "x", "access": "read", "days": "30"})
            assert answer.headers["Location"] == f"/sign-in?next={path}"
        assert Token.objects.count() == 1
        browser = Client()
        browser.post("/sign-in", {"username": "owner", "password": PASSWORD})
        browser.post("/sign-in/code", {"code": twin.at(timezone.now())})
        form = {"label": "x", "access": "read", "days": "30"}
        assert b"tsu_" in browser.post("/tokens/new", form).content

    def test_who_gives_password_and_code_says_how_long_the_token_lives(
        self, owner: User, anonymous_api: Api
    ) -> None:
        body = {"username": "owner", "password": PASSWORD, "expires_in": 5 * 365 * 86400}
        assert anonymous_api.post("/api/v1/auth/login", body).status_code == 200
        life = Token.objects.get().expires_at - timezone.now()  # type: ignore[operator]
        assert life > timedelta(days=5 * 365 - 1)


class TestInvitingOverTheApi:
    @pytest.mark.parametrize("may", [True, False])
    def test_needs_the_same_right_as_in_the_admin(self, may: bool, db: None) -> None:
        helper = UserFactory.create(is_staff=True)
        if may:
            helper.user_permissions.add(Permission.objects.get(codename="add_registration"))
        body = {"email": "new@example.org"}
        answer = Api(user_token(helper)).post("/api/v1/invitations", body)
        assert answer.status_code == (202 if may else 403)
        page = signed_in(helper).get("/admin/accounts/registration/add/")
        assert page.status_code == (200 if may else 403)


class TestTransferOfADevice:
    def test_a_token_that_no_device_has_used_ends(
        self, device: Device, stranger: User, now: Any
    ) -> None:
        used, kept = device_token(device), device_token(device)
        assert Api(used).get("/api/v1/device").status_code == 200
        device_services.transfer([device], stranger, now=now)
        assert Api(used).get("/api/v1/device").status_code == 200
        assert Api(kept).get("/api/v1/device").status_code == 401

    def test_all_tokens_end_where_staff_want_that(
        self, device: Device, stranger: User, staff_client: Client
    ) -> None:
        used = device_token(device)
        assert Api(used).get("/api/v1/device").status_code == 200
        body = {"action": "change_owner", "_selected_action": [str(device.pk)]}
        form = {"confirmed": "yes", "user": stranger.pk, "revoke_tokens": "on"}
        staff_client.post("/admin/devices/device/", {**body, **form})
        assert Api(used).get("/api/v1/device").status_code == 401


def test_deactivation_keeps_nothing_for_later(owner: User, staff: User, owner_api: Api) -> None:
    permissions.deactivate(owner, by=staff)
    permissions.reactivate(owner, by=staff)
    assert owner_api.get("/api/v1/devices").status_code == 401
    assert authenticate(username="owner", password=PASSWORD) == owner
