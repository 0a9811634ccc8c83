"""The admin: every page opens for staff only, and every write goes through the domain."""

import html
import re

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts import tokens
from accounts.models import User
from commands.models import Command, CommandBatch, CommandType
from devices.models import Device
from telemetry.models import RetentionRule, Telemetry
from tests.conftest import Api
from tests.factories import (
    CommandFactory,
    CommandTypeFactory,
    DeviceFactory,
    UserFactory,
    device_token,
    send_to_many,
    store_reading,
    store_readings,
    user_token,
)
from tests.mail import Inbox

pytestmark = pytest.mark.django_db

MODELS = sorted(admin.site._registry, key=lambda model: model._meta.label)
LISTS = [f"/admin/{model._meta.app_label}/{model._meta.model_name}/" for model in MODELS]


def test_every_table_of_ours_has_its_place() -> None:
    # Devices' tokens are shown on the page of their device.
    ours = {"accounts.User", "accounts.Token", "devices.Device", "telemetry.Telemetry"}
    ours |= {
        "commands.Command",
        "commands.CommandBatch",
        "commands.CommandType",
        "telemetry.RetentionRule",
    }
    assert ours <= {model._meta.label for model in MODELS}


@pytest.mark.parametrize("path", ["/admin/", *LISTS])
def test_staff_can_open_every_list(staff_client: Client, device: Device, path: str) -> None:
    CommandFactory.create(device=device)
    store_reading(device)
    assert staff_client.get(path).status_code == 200


def test_staff_invite_by_adding_an_address(staff_client: Client, staff: User, inbox: Inbox) -> None:
    path = "/admin/accounts/registration/add/"
    assert "email" in staff_client.get(path).content.decode()
    refused = staff_client.post(path, {"email": staff.email})
    assert "already" in refused.content.decode()
    assert staff_client.post(path, {"email": "ada@example.org"}).status_code == 302
    invitation = staff.invitations.get()
    assert (invitation.username, invitation.prefix) == ("", "")
    inbox.deliver()
    assert [mail["To"] for mail in inbox.mails] == ["ada@example.org"]
    change = f"/admin/accounts/registration/{invitation.pk}/change/"
    assert staff_client.get(change).status_code == 200
    assert staff_client.post(change, {"email": "other@example.org"}).status_code == 403


def test_an_address_that_staff_have_changed_is_not_proven_by_older_mail(
    staff_client: Client, owner: User
) -> None:
    now = timezone.now()
    _, secret = tokens.issue(owner, scope=tokens.Scope.EMAIL_VERIFICATION, now=now)
    form = {"username": "owner", "email": "new@example.org", "time_zone": "UTC"}
    path = f"/admin/accounts/user/{owner.pk}/change/"
    assert staff_client.post(path, form | {"is_active": "on"}).status_code == 302
    with pytest.raises(tokens.TokenRefused):
        tokens.find(secret.text, scope=tokens.Scope.EMAIL_VERIFICATION, now=now)


@pytest.mark.parametrize("path", ["/admin/", *LISTS])
def test_others_are_sent_to_the_sign_in(owner_client: Client, path: str) -> None:
    answer = owner_client.get(path)
    assert answer.status_code == 302
    assert answer["Location"].startswith("/admin/login/")


def test_no_page_shows_a_hash(staff_client: Client, owner: User, device: Device) -> None:
    user_token(owner)
    device_token(device)
    token = owner.tokens.get()
    pages = [
        f"/admin/accounts/token/{token.pk}/change/",
        f"/admin/devices/device/{device.pk}/change/",
    ]
    for path in pages:
        page = staff_client.get(path)
        assert page.status_code == 200
        for secret in (token.token_hash, device.tokens.get().token_hash):
            assert bytes(secret).hex() not in page.content.decode()
            assert repr(bytes(secret)) not in page.content.decode()


class TestDevices:
    fields = {"name": "pump", "device_type": "pump", "expected_interval": 60, "metadata": "{}"}
    inline = {"tokens-TOTAL_FORMS": 0, "tokens-INITIAL_FORMS": 0}

    def add(self, client: Client, owner: User, **fields: object) -> str:
        body = {**self.fields, **self.inline, "user": owner.pk, **fields}
        return client.post("/admin/devices/device/add/", body).content.decode()

    def test_an_added_device_speaks_with_the_token_that_is_shown_once(
        self, staff_client: Client, owner: User
    ) -> None:
        found = re.search(r"tsd_[0-9A-Za-z]{49}", self.add(staff_client, owner))
        assert found is not None
        assert Api(found[0]).get("/api/v1/device").json()["name"] == "pump"
        page = staff_client.get(f"/admin/devices/device/{Device.objects.get().pk}/change/")
        assert found[0] not in page.content.decode()

    def test_metadata_is_checked_as_everywhere(self, staff_client: Client, owner: User) -> None:
        page = self.add(staff_client, owner, metadata='{"a": "\\u0000"}')
        assert "A NUL character cannot be stored." in page
        assert not Device.objects.exists()

    def test_a_change_is_stored(self, staff_client: Client, device: Device, owner: User) -> None:
        path = f"/admin/devices/device/{device.pk}/change/"
        staff_client.post(path, {**self.fields, **self.inline, "user": owner.pk, "name": "renamed"})
        device.refresh_from_db()
        assert device.name == "renamed"

    def test_deleting_one_decommissions_it_and_asks_about_no_reading(
        self, staff_client: Client, device: Device, device_api: Api
    ) -> None:
        store_reading(device)
        path = f"/admin/devices/device/{device.pk}/delete/"
        assert b"with all its readings" in staff_client.get(path).content
        staff_client.post(path, {"post": "yes"})
        device.refresh_from_db()
        assert device.deleted_at is not None
        assert device_api.get("/api/v1/device").status_code == 401

    def test_rotating_tokens_shows_the_new_ones_and_leaves_the_device_its_own_for_now(
        self, staff_client: Client, device: Device, device_api: Api
    ) -> None:
        body = {"action": "rotate_tokens", "_selected_action": [str(device.pk)]}
        assert b"tsd_" not in staff_client.post("/admin/devices/device/", body).content
        body["confirmed"] = "yes"
        page = staff_client.post("/admin/devices/device/", body).content.decode()
        found = re.search(r"tsd_[0-9A-Za-z]{49}", page)
        assert found is not None
        assert Api(found[0]).get("/api/v1/device").status_code == 200
        assert device_api.get("/api/v1/device").status_code == 200
        assert device.tokens.get(replaced_by=None).prefix == found[0][:8]


class TestTelemetry:
    def test_nothing_is_listed_until_a_device_is_chosen(
        self, staff_client: Client, device: Device
    ) -> None:
        store_reading(device, telemetry_type="soil")
        path = "/admin/telemetry/telemetry/"
        assert b"soil" not in staff_client.get(path).content
        assert b"soil" in staff_client.get(f"{path}?device={device.pk}").content

    @pytest.mark.parametrize("query", ["device=x", "payload__a__regex=(", "o=1", "cursor=x"])
    def test_a_made_up_query_does_no_harm(
        self, staff_client: Client, device: Device, query: str
    ) -> None:
        for chosen in ("", f"&device={device.pk}"):
            answer = staff_client.get(f"/admin/telemetry/telemetry/?{query}{chosen}")
            assert answer.status_code < 500

    def test_they_are_walked_through_by_page_and_back(
        self, staff_client: Client, device: Device, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("telemetry.admin.PER_PAGE", 2)
        store_readings(device, payloads=[{"n": number} for number in range(5)])
        path = "/admin/telemetry/telemetry/"
        seen, query = [], f"?device={device.pk}"
        while query:
            page = staff_client.get(path + query).context
            seen.append([reading.payload["n"] for reading in page["readings"]])
            query = page.get("older")
        assert seen == [[4, 3], [2, 1], [0]]
        back = staff_client.get(path + page["newer"]).context
        assert [reading.payload["n"] for reading in back["readings"]] == [2, 1]
        first = staff_client.get(path + back["newer"]).context
        assert [reading.payload["n"] for reading in first["readings"]] == [4, 3]
        assert "newer" not in first
        assert staff_client.get(path + first["older"]).context["readings"] == back["readings"]

    def test_readings_cannot_be_written(self, staff_client: Client, device: Device) -> None:
        reading = store_reading(device)
        base = "/admin/telemetry/telemetry/"
        for path in (f"{base}add/", f"{base}{reading.pk}/change/", f"{base}{reading.pk}/delete/"):
            assert staff_client.post(path, {"post": "yes"}).status_code == 404


class TestRetention:
    path = "/admin/telemetry/retentionrule/"

    def test_a_rule_is_made_and_the_list_says_what_would_go(
        self, staff_client: Client, device: Device
    ) -> None:
        store_readings(device, payloads=[{"n": number} for number in range(3)])
        body = {"device": device.pk, "raw_days": 30, "hour_days": 365}
        page = staff_client.post(f"{self.path}add/", body, follow=True).content.decode()
        assert "Of the device greenhouse, 3 readings before " in page
        assert "No device keeps anything of:" in page
        assert '<td class="field-daily_values">for ever</td>' in page
        assert Telemetry.objects.count() == 3

    @pytest.mark.parametrize(
        ("body", "words"),
        [
            ({"device_type": "pump", "device": True}, "not for both"),
            ({"raw_days": 0}, "The shortest age is one day."),
            ({"raw_days": -1}, "greater than or equal to 0"),
            ({"raw_days": 2**31}, "less than or equal to"),
            ({"raw_days": 30, "hour_days": 7}, "at least as long as readings"),
        ],
    )
    def test_one_that_makes_no_sense_is_told(
        self, staff_client: Client, device: Device, body: dict[str, object], words: str
    ) -> None:
        body = {**body, "device": device.pk} if body.get("device") else body
        page = staff_client.post(f"{self.path}add/", body).content.decode()
        assert words in html.unescape(page)
        assert not RetentionRule.objects.exists()

    def test_without_a_rule_the_list_says_that_nothing_goes(self, staff_client: Client) -> None:
        assert b"everything is kept for ever" in staff_client.get(self.path).content


class TestCommands:
    path = "/admin/commands/command/add/"

    def send(self, client: Client, device: Device, name: str, payload: str) -> str:
        body = {"device": device.pk, "command_name": name, "payload": payload}
        return client.post(self.path, body, follow=True).content.decode()

    def test_one_is_sent_as_from_everywhere(
        self, staff_client: Client, staff: User, device: Device
    ) -> None:
        self.send(staff_client, device, "reboot", '{"delay": 5}')
        command = Command.objects.get()
        assert (command.payload, command.issued_by) == ({"delay": 5}, staff)

    def test_a_payload_that_does_not_fit_the_catalogue_is_told_at_its_field(
        self, staff_client: Client, device: Device
    ) -> None:
        CommandType.objects.create(
            device_type=device.device_type,
            command_name="reboot",
            title="Reboot",
            payload_schema={"properties": {"delay": {"type": "integer"}}},
        )
        page = self.send(staff_client, device, "reboot", '{"delay": "soon"}')
        assert "delay It must be of type integer." in page
        assert not Command.objects.exists()

    def test_a_full_queue_is_told(
        self, staff_client: Client, device: Device, settings: pytest.FixtureRequest
    ) -> None:
        settings.PENDING_COMMANDS_PER_DEVICE = 1
        self.send(staff_client, device, "reboot", "{}")
        assert "Too many commands wait" in self.send(staff_client, device, "reboot", "{}")

    def test_the_selected_are_cancelled_if_they_can_be(
        self, staff_client: Client, device: Device
    ) -> None:
        pending = CommandFactory.create(device=device)
        done = CommandFactory.create(device=device, status="executed", executed_at=timezone.now())
        body = {"action": "cancel", "_selected_action": [str(pending.pk), str(done.pk)]}
        page = staff_client.post("/admin/commands/command/", body, follow=True)
        assert b"1 cancelled." in page.content
        pending.refresh_from_db()
        assert pending.reason == "cancelled"

    @pytest.mark.parametrize(
        ("schema", "words"),
        [
            ('{"type": "nonsense"}', "is not valid"),
            ('{"$ref": "https://example.org/s"}', "only point into the schema itself"),
        ],
    )
    def test_a_schema_is_checked_when_it_is_saved(
        self, staff_client: Client, schema: str, words: str
    ) -> None:
        body = {"device_type": "pump", "command_name": "go", "title": "Go", "default_expiry": 60}
        page = staff_client.post(
            "/admin/commands/commandtype/add/", {**body, "payload_schema": schema}
        )
        assert words in page.content.decode()
        assert not CommandType.objects.exists()

    def test_the_selected_are_sent_again_if_they_can_be(
        self, staff_client: Client, staff: User, device: Device
    ) -> None:
        old = CommandFactory.create(device=device, status="failed", reason="device")
        pending = CommandFactory.create(device=device)
        body = {"action": "send_again", "_selected_action": [str(old.pk), str(pending.pk)]}
        page = staff_client.post("/admin/commands/command/", body, follow=True)
        assert b"1 of 2 sent again." in page.content
        assert Command.objects.get(retry_of=old).issued_by == staff

    def test_one_is_shown_whole(self, staff_client: Client, device: Device) -> None:
        command = CommandFactory.create(device=device, late=True)
        page = staff_client.get(f"/admin/commands/command/{command.pk}/change/")
        assert b"Finished at" in page.content
        assert b"Late" in page.content


class TestSendingToMany:
    LIST = "/admin/devices/device/"

    def ask(self, client: Client, devices: list[Device], **more: str) -> HttpResponse:
        ids = [str(device.pk) for device in devices]
        body = {"action": "send_command", "_selected_action": ids, **more}
        return client.post(self.LIST, body)

    @pytest.fixture
    def devices(self, owner: User, stranger: User) -> list[Device]:
        return [DeviceFactory.create(user=user) for user in (owner, owner, stranger)]

    def test_the_selected_get_it_after_a_page_that_asks(
        self, staff_client: Client, staff: User, devices: list[Device]
    ) -> None:
        page = self.ask(staff_client, devices).content.decode()
        assert "To 3 devices." in page
        assert not Command.objects.exists()
        body = {"send": "yes", "command_name": "reboot", "payload": '{"a": 1}'}
        answer = self.ask(staff_client, devices, **body)
        batch = CommandBatch.objects.get()
        assert answer.headers["Location"] == f"/admin/commands/commandbatch/{batch.pk}/change/"
        assert (batch.issued_by, batch.commands.count()) == (staff, 3)
        shown = staff_client.get(answer.headers["Location"]).content.decode()
        assert "3 waiting" in re.sub(r"\s+", " ", shown)

    def test_those_of_one_type_get_the_form_of_its_commands(
        self, staff_client: Client, devices: list[Device]
    ) -> None:
        Device.objects.update(device_type="thermostat")
        CommandTypeFactory.create(command_name="a")
        schema = {"properties": {"target": {"type": "integer", "maximum": 30}}}
        CommandTypeFactory.create(command_name="set", payload_schema=schema)
        page = self.ask(staff_client, devices, command="set", show="yes").content.decode()
        assert 'name="payload/target"' in page
        body = {"send": "yes", "command_name": "set", "payload/target": "99"}
        page = self.ask(staff_client, devices, **body).content.decode()
        assert "At most 30." in page
        assert not Command.objects.exists()

    def test_more_than_a_thousand_are_refused(self, staff_client: Client, owner: User) -> None:
        Device.objects.bulk_create(Device(user=owner, name="many") for _ in range(1001))
        one = Device.objects.first()
        assert one
        self.ask(staff_client, [one], select_across="1")
        page = staff_client.get(self.LIST).content.decode()
        assert "to 1000 devices at the most" in page

    def test_staff_who_may_send_no_commands_cannot(
        self, client: Client, devices: list[Device]
    ) -> None:
        helper = UserFactory.create(is_staff=True)
        helper.user_permissions.set(Permission.objects.filter(codename__endswith="_device"))
        client.force_login(helper)
        # The framework knows no action that is not offered, and shows the list again.
        assert self.ask(client, devices).status_code == 302

    def test_a_batch_is_cancelled(self, staff_client: Client, devices: list[Device]) -> None:
        batch = send_to_many(*devices)
        body = {"action": "cancel", "_selected_action": [str(batch.pk)]}
        page = staff_client.post("/admin/commands/commandbatch/", body, follow=True)
        assert b"3 cancelled." in page.content
        assert not Command.objects.filter(status="pending").exists()


class TestUsers:
    def test_nobody_is_deleted_here(self, staff_client: Client, owner: User) -> None:
        path = f"/admin/accounts/user/{owner.pk}/delete/"
        assert staff_client.post(path, {"post": "yes"}).status_code == 403

    def test_staff_who_are_no_superusers_cannot_raise_rights(
        self, staff: User, staff_client: Client, owner: User
    ) -> None:
        User.objects.filter(pk=staff.pk).update(is_superuser=False)
        staff.user_permissions.set(Permission.objects.filter(content_type__app_label="accounts"))
        path = reverse("admin:accounts_user_change", args=[owner.pk])
        body = {"username": "owner", "email": owner.email, "time_zone": "UTC"}
        answer = staff_client.post(
            path, {**body, "is_active": "on", "is_staff": "on", "is_superuser": "on"}
        )
        assert answer.status_code == 302
        owner.refresh_from_db()
        assert not owner.is_staff
        assert not owner.is_superuser

    def test_nor_can_they_change_a_superuser(
        self, staff: User, staff_client: Client, owner: User
    ) -> None:
        User.objects.filter(pk=staff.pk).update(is_superuser=False)
        User.objects.filter(pk=owner.pk).update(is_superuser=True)
        staff.user_permissions.set(Permission.objects.filter(content_type__app_label="accounts"))
        for path in ("change", "password"):
            answer = staff_client.post(
                f"/admin/accounts/user/{owner.pk}/{path}/",
                {"password1": "a new long passphrase", "password2": "a new long passphrase"},
            )
            assert answer.status_code == 403

    def test_a_password_that_staff_set_ends_what_the_old_one_opened(
        self, staff_client: Client, owner: User, owner_api: Api
    ) -> None:
        new = "a new long passphrase"
        body = {"password1": new, "password2": new, "usable_password": "true"}
        answer = staff_client.post(f"/admin/accounts/user/{owner.pk}/password/", body)
        assert answer.status_code == 302
        assert Client().login(username="owner", password=new)
        assert owner_api.get("/api/v1/devices").status_code == 401

    def test_a_password_can_be_taken_away(self, staff_client: Client, owner: User) -> None:
        body = {"usable_password": "false", "unset-password": "", "password1": "", "password2": ""}
        staff_client.post(f"/admin/accounts/user/{owner.pk}/password/", body)
        owner.refresh_from_db()
        assert not owner.has_usable_password()

    def test_an_added_user_signs_in(self, staff_client: Client) -> None:
        body = {"username": "neu", "email": "neu@example.org", "usable_password": "true"}
        password = "correct horse battery staple"
        answer = staff_client.post(
            "/admin/accounts/user/add/", {**body, "password1": password, "password2": password}
        )
        assert answer.status_code == 302
        assert Client().login(username="neu@example.org", password=password)

    def test_a_revoked_token_is_refused(
        self, staff_client: Client, owner: User, owner_api: Api
    ) -> None:
        body = {"action": "revoke", "_selected_action": [str(owner.tokens.get().pk)]}
        staff_client.post("/admin/accounts/token/", body)
        assert owner_api.get("/api/v1/devices").status_code == 401
