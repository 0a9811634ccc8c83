"""Every page is in the language of the user; the default is English."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone, translation

from accounts.audit import log as audit
from accounts.email import verification
from accounts.mfa import services as mfa
from accounts.models import User
from accounts.passwords import services as passwords
from accounts.registration import invitations
from accounts.users import data_exports
from devices.models import Device
from tests import german
from tests.conftest import Api, signed_in
from tests.e2e.test_every_page import PAGES
from tests.factories import (
    PASSWORD,
    CommandFactory,
    CommandTypeFactory,
    DeviceFactory,
    UserFactory,
    device_token,
    issue_batch,
    register_key,
    store_readings,
    user_token,
)
from tests.mail import Inbox

pytestmark = [pytest.mark.django_db, pytest.mark.unmeasured]

GERMAN = {"Accept-Language": "de-AT,de;q=0.9,en;q=0.5"}
PERMISSIONS = re.compile(r'<select name="user_permissions".*?</select>', re.DOTALL)
OWN_PAGES = [
    "/account",
    "/account/address",
    "/account/activity",
    "/account/data",
    "/account/delete",
    "/account/second-factor",
    "/account/second-factor/set-up",
    "/account/sessions",
    "/devices/{greenhouse}/commands",
    "/devices/{greenhouse}/tokens",
    "/goodbye",
    "/tokens",
    "/tokens/new",
]
OPEN_PAGES = [
    "/help",
    "/join",
    "/nothing-here",
    "/password-reset",
    "/password-reset/new",
    "/sign-in",
    "/sign-in/link",
    "/sign-up",
    "/verify-email",
    "/verify-email/again",
]
STAFF_PAGES = [
    "/admin/",
    "/admin/accounts/auditevent/",
    "/admin/accounts/registration/",
    "/admin/accounts/registration/add/",
    "/admin/accounts/token/",
    "/admin/accounts/user/",
    "/admin/accounts/user/{owner}/change/",
    "/admin/accounts/user/add/",
    "/admin/auth/group/",
    "/admin/commands/command/",
    "/admin/commands/command/add/",
    "/admin/commands/command/{command}/change/",
    "/admin/commands/commandbatch/",
    "/admin/commands/commandbatch/{batch}/change/",
    "/admin/commands/commandtype/",
    "/admin/commands/commandtype/add/",
    "/admin/devices/device/",
    "/admin/devices/device/{greenhouse}/change/",
    "/admin/devices/device/{greenhouse}/charts/",
    "/admin/devices/device/add/",
    "/admin/devices/device/purging/",
    "/admin/procrastinate/procrastinatejob/",
    "/admin/telemetry/retentionrule/",
    "/admin/telemetry/retentionrule/add/",
    "/admin/telemetry/telemetry/",
    "/admin/telemetry/telemetry/?device={greenhouse}",
]


def text(answer: HttpResponse) -> str:
    return answer.content.decode()


def german_page(client: Client, path: str, data: Any = None) -> str:
    """Return a page, check that it is declared as German, and remove its English reference part."""
    ask = client.get if data is None else client.post
    answer = ask(path, data, headers=GERMAN)
    assert answer["Content-Language"] == "de"
    page = text(answer)
    assert '<html lang="de"' in page
    # The reference takes its texts from the schema, which is English.
    return page.partition('<div class="reference">')[0]


@pytest.fixture
def ids(owner: User, device: Device, device_api: Api) -> dict[str, Any]:
    """Create objects of every kind, so that every page has content."""
    now = timezone.now()
    past = now - timedelta(hours=3)
    store_readings(device, payloads=[{"t": 21.5, "on": True}] * 3, recorded_at=past)
    register_key(device, "environment.t", recorded_at=past)
    device_api.post("/api/v1/device/telemetry", {"telemetry_type": "e", "payload": {"a": "\0"}})
    kind = CommandTypeFactory.create(device_type=device.device_type, confirm=True)
    mast = DeviceFactory.create(user=owner, name="Mast")
    for given in (
        {"status": "executed", "executed_at": past, "result": {"ok": True}, "late": True},
        {"status": "failed", "reason": "cancelled"},
        {"delivered_at": past, "attempts": 1, "lease_until": now + timedelta(hours=1)},
    ):
        CommandFactory.create(
            device=device, created_at=past, expires_at=now + timedelta(1), **given
        )
    user_token(owner)
    device_token(mast)
    data_exports.request_export(owner, now=now)
    audit.record("device.changed", target=device, before={"name": "x"}, after={"name": "y"})
    batch = issue_batch(device, mast, command_name=kind.command_name)
    return {
        "greenhouse": device.pk,
        "hostile": device.pk,
        "mast": mast.pk,
        "owner": owner.pk,
        "batch": batch.pk,
        "command": batch.commands.first().pk,
    }


class TestEveryPage:
    @pytest.mark.parametrize("path", [*PAGES.values(), *OWN_PAGES])
    def test_every_page_is_german(
        self, owner_client: Client, ids: dict[str, Any], path: str
    ) -> None:
        where = path.format_map(ids).replace("climate.temperature", "environment.t")
        assert german.still_english(german_page(owner_client, where)) == []

    @pytest.mark.parametrize("path", ["", "/commands/{command}", "/connect"])
    def test_pages_of_a_device_with_finished_commands_are_german(
        self, owner_client: Client, ids: dict[str, Any], path: str
    ) -> None:
        for command in Device.objects.get(pk=ids["greenhouse"]).commands.all():
            where = "/devices/{greenhouse}" + path
            page = german_page(owner_client, where.format_map({**ids, "command": command.pk}))
            assert german.still_english(page) == []

    def test_the_page_of_a_batch_is_german(self, owner_client: Client, ids: dict[str, Any]) -> None:
        page = german_page(owner_client, "/commands/batches/{batch}".format_map(ids))
        assert german.still_english(page) == []

    @pytest.mark.parametrize("path", OPEN_PAGES)
    def test_public_pages_are_german(self, client: Client, path: str) -> None:
        assert german.still_english(german_page(client, path)) == []

    @pytest.mark.parametrize("path", STAFF_PAGES)
    def test_pages_of_the_admin_are_german(
        self, staff_client: Client, ids: dict[str, Any], path: str
    ) -> None:
        page = german_page(staff_client, path.format_map(ids))
        # Django stores the names of permissions in the database, in English.
        page = PERMISSIONS.sub("", page)
        assert german.still_english(page) == []

    @pytest.mark.parametrize(
        ("path", "data"),
        [
            ("/devices/new", {}),
            ("/devices/new", {"name": "x", "metadata": '{"a": 1, "a": 2}'}),
            ("/devices/new", {"name": "x", "metadata": "{"}),
            ("/devices/new", {"name": "x", "metadata": '{"a": ' + "[" * 20 + "]" * 20 + "}"}),
            ("/devices/new", {"name": "x", "expected_interval": 0}),
            ("/account", {"username": "a b", "time_zone": "Mars"}),
            ("/account", {"username": "stranger", "time_zone": "UTC"}),
            ("/account/address", {"email": "x", "password": "no"}),
            (
                "/account/password",
                {"old_password": "x", "new_password1": "y", "new_password2": "z"},
            ),
            ("/account/delete", {"password": "no"}),
            ("/tokens/new", {"days": 3}),
            ("/devices/{greenhouse}/commands", {"command_name": "ä"}),
            (
                "/devices/{greenhouse}/commands",
                {"command_name": "x", "payload": "[", "form_id": ""},
            ),
            ("/devices/{greenhouse}/keys/environment.t", {"decimals": 77}),
            ("/devices/{greenhouse}/delete", {"delete-confirmed_name": "x"}),
        ],
    )
    def test_form_errors_are_german(
        self, owner_client: Client, stranger: User, ids: dict[str, Any], path: str, data: Any
    ) -> None:
        page = german_page(owner_client, path.format_map(ids), data)
        assert german.still_english(page) == []
        assert 'class="errors"' in page or 'class="notice error"' in page

    def test_an_english_page_is_detected(self, owner_client: Client, device: Device) -> None:
        found = german.still_english(text(owner_client.get(f"/devices/{device.pk}")))
        assert {"Copy id", "Connect device", "Skip to content"} <= set(found)


class TestLanguageChoice:
    def test_the_default_is_english(self, client: Client) -> None:
        answer = client.get("/sign-in")
        assert '<html lang="en"' in text(answer)
        assert answer["Content-Language"] == "en"

    @pytest.mark.parametrize("asked", ["fr", "xx-YY", "*", "de;q=0.2,en", "\xe4", "," * 600])
    def test_an_unknown_or_lower_preference_is_english(self, client: Client, asked: str) -> None:
        page = text(client.get("/sign-in", headers={"Accept-Language": asked}))
        assert '<html lang="en"' in page

    def test_pages_vary_by_accept_language(self, client: Client) -> None:
        assert "Accept-Language" in client.get("/sign-in")["Vary"]

    def test_the_language_of_a_request_does_not_affect_the_next(self, client: Client) -> None:
        german_page(client, "/sign-in")
        assert '<html lang="en"' in text(client.get("/sign-in"))
        assert translation.get_language() == "en"

    def test_the_language_of_the_profile_overrides_the_browser(self, owner: User) -> None:
        client = signed_in(owner)
        client.post("/account", {"username": "owner", "time_zone": "UTC", "language": "de"})
        answer = client.get("/", headers={"Accept-Language": "en"})
        assert '<html lang="de"' in text(answer)
        assert answer["Content-Language"] == "de"
        client.post("/account", {"username": "owner", "time_zone": "UTC", "language": ""})
        assert '<html lang="en"' in text(client.get("/", headers={"Accept-Language": "en"}))

    @pytest.mark.parametrize("language", ["xx", "de' --", "x" * 40])
    def test_an_unknown_language_is_rejected(self, owner: User, language: str) -> None:
        form = {"username": "owner", "time_zone": "UTC", "language": language}
        assert signed_in(owner).post("/account", form).status_code == 422
        owner.refresh_from_db()
        assert owner.language == ""

    def test_the_language_can_be_set_in_the_api(self, owner_api: Api, owner: User) -> None:
        assert owner_api.patch("/api/v1/users/me", {"language": "xx"}).status_code == 422
        assert owner_api.patch("/api/v1/users/me", {"language": "de"}).json()["language"] == "de"

    def test_the_api_is_english_for_every_client(self, device_api: Api, owner: User) -> None:
        User.objects.update(language="de")
        path = "/api/v1/device/telemetry"
        body = {"telemetry_type": "e", "payload": {"a": "\0"}}
        answer = device_api.post(path, body, headers=GERMAN)
        assert answer.json()["errors"][0]["detail"] == "A NUL character cannot be stored."
        answer = Api(user_token(owner)).post("/api/v1/devices", {}, headers=GERMAN)
        assert answer.json()["errors"][0]["detail"] == "This field is required."
        assert "Accept-Language" not in answer["Vary"]


class TestNumbersAndTimes:
    def test_numbers_and_times_are_localized(
        self, owner_client: Client, ids: dict[str, Any]
    ) -> None:
        page = german_page(owner_client, "/devices/{greenhouse}".format_map(ids))
        assert ">21,5<" in page
        assert "vor 3 h" in page
        page = german_page(owner_client, "/devices/{greenhouse}/keys".format_map(ids))
        assert "21,5" in page

    def test_numbers_for_scripts_are_not_localized(
        self, owner_client: Client, device: Device
    ) -> None:
        past = timezone.now() - timedelta(days=40)
        store_readings(device, payloads=[{"t": 21.5}], recorded_at=past)
        for path in ("", "/history"):
            page = german_page(owner_client, f"/devices/{device.pk}{path}")
            assert f'data-end="{past.timestamp()}"' in page

    def test_a_form_accepts_dates_in_the_format_of_browsers(
        self, owner_client: Client, device: Device
    ) -> None:
        schema = {"properties": {"at": {"type": "string", "format": "date-time"}}}
        kind = CommandTypeFactory.create(device_type=device.device_type, payload_schema=schema)
        form = {"command_name": kind.command_name, "payload/at": "2030-01-31T12:00:05"}
        owner_client.post(f"/devices/{device.pk}/commands", form, headers=GERMAN)
        assert device.commands.get().payload == {"at": "2030-01-31T12:00:05+00:00"}


class TestMail:
    def test_a_mail_is_in_the_language_of_the_request(
        self, inbox: Inbox, client: Client, settings: Any
    ) -> None:
        settings.REGISTRATION_MODE, settings.ALLOW_UNVERIFIED_LOGIN = "open", False
        form = {"username": "ada", "email": "ada@example.org", "password": PASSWORD}
        client.post("/sign-up", form, headers=GERMAN)
        inbox.deliver()
        (mail,) = inbox.to("ada@example.org")
        assert mail["Subject"] == "Bestätigen Sie Ihre E-Mail-Adresse"
        html = mail.get_body(("html",))
        assert html is not None
        assert '<html lang="de">' in html.get_content()
        assert german.still_english(html.get_content()) == []

    def test_a_mail_is_in_the_language_of_the_recipients_profile(
        self, inbox: Inbox, client: Client
    ) -> None:
        UserFactory.create(email="grace@example.org", language="en")
        client.post("/password-reset", {"email": "grace@example.org"}, headers=GERMAN)
        UserFactory.create(email="emmy@example.org", language="de")
        client.post("/password-reset", {"email": "emmy@example.org"})
        inbox.deliver()
        assert inbox.to("grace@example.org")[0]["Subject"] == "Set a new password"
        assert inbox.to("emmy@example.org")[0]["Subject"] == "Neues Passwort setzen"

    def test_every_kind_of_mail_is_german(self, inbox: Inbox, staff: User, now: Any) -> None:
        user = UserFactory.create(email="ada@example.org", language="de")
        passwords.request_reset(user.email)
        verification.request_email_change(user, "new@example.org")
        inbox.deliver()
        passwords.set_password(user, PASSWORD)
        with translation.override("de"):
            invitations.invite(staff, "invited@example.org", now=timezone.now())
        inbox.deliver()
        assert len(inbox.mails) == 5
        for mail in inbox.mails:
            for part in mail.walk():
                if not part.is_multipart():
                    assert german.still_english(part.get_content()) == []

    def test_a_queued_job_without_a_language_is_sent(self, inbox: Inbox) -> None:
        from accounts import tasks

        user = UserFactory.create()
        tasks.send_mail(kind="password-reset", subject=str(user.pk))
        assert inbox.to(user.email)[0]["Subject"] == "Set a new password"


def test_the_setup_of_two_factor_authentication_is_german(owner: User) -> None:
    client = signed_in(owner)
    answer = client.post(
        "/account/second-factor/set-up", {"code": "1", "password": "no"}, headers=GERMAN
    )
    assert german.still_english(text(answer)) == []
    assert not mfa.is_enabled(owner)
