"""What is written down of what happens, by whom it was done, and how long it is kept."""

import json
import re
import sys
from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.utils import timezone
from rest_framework.request import Request

from accounts.audit import log as audit
from accounts.models import AuditEvent, Token
from accounts.passwords import services as passwords
from accounts.tokens import format as token_format
from accounts.tokens import services as tokens
from devices import services as device_services
from devices.authentication import DeviceTokenAuthentication
from tests.accounts.audit.trail import record, trail
from tests.factories import (
    NOW,
    PASSWORD,
    DeviceFactory,
    UserFactory,
    device_token,
    user_token,
    user_token_and_row,
)

pytestmark = pytest.mark.django_db


class TestAppendOnly:
    @pytest.mark.parametrize(
        "statement",
        ["UPDATE audit_events SET actor_name = 'somebody else'", "DELETE FROM audit_events"],
    )
    def test_the_database_refuses_every_change(self, owner, statement):
        record(target=owner)
        with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
            connection.cursor().execute(statement)
        assert AuditEvent.objects.count() == 1

    def test_the_database_refuses_to_empty_the_table(self):
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL audit.truncating = ''")
        with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
            connection.cursor().execute("TRUNCATE audit_events")

    def test_a_user_cannot_be_deleted_over_their_trail(self, owner):
        record(target=owner)
        with pytest.raises(IntegrityError), transaction.atomic():
            owner.delete()

    def test_after_something_was_forgotten_it_is_append_only_again(self, owner, stranger):
        record(target=owner)
        record(target=stranger)
        audit.delete_for_user(owner)
        assert AuditEvent.objects.get().owner == stranger
        with pytest.raises(IntegrityError), transaction.atomic():
            AuditEvent.objects.all().delete()

    def test_what_a_transaction_takes_back_was_never_done(self, owner):
        with transaction.atomic():
            user_token(owner)
            transaction.set_rollback(True)
        assert trail(owner) == []


class TestForgetting:
    def test_who_leaves_takes_what_was_tried_in_their_name_before_they_came(self, owner):
        for name in ("OWNER", owner.email, "another"):
            audit.record("sign_in.failed", name=name)
        audit.delete_for_user(owner)
        assert AuditEvent.objects.get().target_name == "another"

    def test_what_they_did_to_others_stays_with_their_name(self, staff, owner):
        record(target=owner, by=staff)
        audit.delete_for_user(staff)
        event = AuditEvent.objects.get()
        assert (event.actor_name, event.actor_id, event.owner) == ("staff", staff.pk, owner)

    def test_what_is_over_its_age_goes(self, owner, settings):
        settings.AUDIT_DAYS = 365
        for days in (364, 366):
            record(target=owner, now=NOW - timedelta(days=days))
        for days in (89, 91):
            audit.record("sign_in.failed", name="x", now=NOW - timedelta(days=days))
        assert audit.delete_expired(now=NOW) == 2
        assert {NOW - event.created_at for event in AuditEvent.objects.all()} == {
            timedelta(days=364),
            timedelta(days=89),
        }


class TestWho:
    def test_a_token_acts_for_its_user(self, owner, owner_api):
        owner_api.post("/api/v1/devices", {"name": "pump"})
        event = AuditEvent.objects.get(action="device.created")
        token = owner.tokens.get()
        assert (event.owner, event.actor_id, event.actor_name) == (owner, owner.pk, "owner")
        assert (event.means, event.means_id, event.means_name) == (
            "token",
            str(token.pk),
            str(token),
        )
        assert event.address == "127.0.0.1"
        assert (event.target_kind, event.target_name) == ("device", "pump")

    def test_a_session_acts_for_its_user(self, owner, owner_client):
        owner_client.post(
            "/devices/new", {"name": "pump", "device_type": "pump", "expected_interval": 60}
        )
        event = AuditEvent.objects.get(action="device.created")
        assert (event.means, event.actor_id) == ("session", owner.pk)

    def test_staff_act_in_the_trail_of_whom_it_is_done_to(self, staff_client, staff, owner, device):
        body = {"action": "rotate_tokens", "confirmed": "yes", "_selected_action": [str(device.pk)]}
        staff_client.post("/admin/devices/device/", body)
        event = AuditEvent.objects.get(action="device.rotated")
        assert (event.owner, event.actor_name) == (owner, "staff")
        assert event.shown_address is None

    def test_a_device_acts_by_its_token_and_for_nobody(self, device, rf):
        token = device_token(device)
        with audit.audit_context(lambda: None, means=audit.Means.SESSION, address="192.0.2.1"):
            asked = Request(rf.get("/", headers={"Authorization": f"Bearer {token}"}))
            DeviceTokenAuthentication().authenticate(asked)
            event = record(target=device)
        assert (event.means, event.means_name, event.actor_id) == ("device", "greenhouse", None)
        assert event.address == "192.0.2.1"

    @pytest.mark.parametrize(
        ("argv", "means", "name"),
        [
            (["/srv/manage.py", "sign_in_link", "x"], "command_line", "sign_in_link"),
            (["manage.py", "worker"], "worker", "worker"),
            (["/usr/bin/python-shell"], "command_line", "python-shell"),
        ],
    )
    def test_where_nobody_asked_it_is_the_process(self, owner, monkeypatch, argv, means, name):
        monkeypatch.setattr(sys, "argv", argv)
        event = record(target=owner)
        assert (event.means, event.means_name) == (means, name)
        assert (event.actor_id, event.actor_name, event.address) == (None, "", None)

    def test_the_next_request_of_a_thread_is_somebody_elses(
        self, owner_api, stranger, anonymous_api
    ):
        owner_api.post("/api/v1/devices", {"name": "pump"})
        anonymous_api.post("/api/v1/auth/login", {"username": "stranger", "password": "wrong"})
        event = AuditEvent.objects.get(owner=stranger)
        assert (event.means, event.means_id, event.actor_id) == ("nothing", "", None)


class TestWhat:
    def test_of_before_and_after_what_differs_is_kept(self, owner):
        event = record(target=owner, before={"a": 1, "b": 2}, after={"a": 1, "b": 3, "c": 4})
        assert (event.before, event.after) == ({"b": 2}, {"b": 3, "c": 4})

    def test_where_nothing_differs_nothing_happened(self, owner):
        audit.record("user.changed", target=owner, before={"a": 1}, after={"a": 1})
        assert trail(owner) == []

    def test_no_secret_is_written_down(self, owner):
        secret = token_format.generate("tsu").text
        event = record(
            target=owner,
            name=f"the token {secret}",
            after={
                "password": "swordfish",
                "metadata": {"wifi_passphrase": "swordfish", "list": [{"api_key": "swordfish"}]},
                "note": f"is {secret}",
                secret: 1,
            },
        )
        written = json.dumps([event.after, event.target_name])
        assert "swordfish" not in written
        assert secret not in written
        assert secret[:8] in written

    def test_an_action_nobody_has_named_is_a_mistake(self, owner):
        with pytest.raises(AssertionError):
            audit.record("made.up", target=owner)


class TestSignIns:
    path = "/api/v1/auth/login"

    def test_a_good_one_is_its_users(self, owner, anonymous_api):
        anonymous_api.post(self.path, {"username": "owner", "password": PASSWORD})
        assert trail(owner) == ["sign_in.succeeded", "token.issued"]
        assert AuditEvent.objects.get(action="sign_in.succeeded").actor_id == owner.pk

    def test_a_bad_one_is_in_the_trail_of_who_was_tried(self, owner, anonymous_api):
        anonymous_api.post(self.path, {"email": owner.email, "password": "wrong"})
        event = AuditEvent.objects.get()
        assert (event.action, event.owner, event.actor_id) == ("sign_in.failed", owner, None)
        assert event.shown_address == "127.0.0.1"

    @pytest.mark.parametrize(
        "typed", ["nobody", "nobody@example.org", "MyPassw0rd2026", "Tr0ub4dor&3", "x" * 254]
    )
    def test_of_an_unknown_name_two_letters_and_a_digest_are_kept(self, anonymous_api, typed):
        for spelled in (typed, typed.upper()):
            anonymous_api.post(self.path, {"username": spelled, "password": "wrong"})
        first, second = AuditEvent.objects.all()
        assert (first.action, first.owner) == ("sign_in.failed", None)
        assert re.fullmatch(rf"{typed[:2].lower()}… \([0-9a-f]{{8}}\)", first.target_name)
        assert first.target_name == second.target_name

    def test_what_was_tried_in_a_name_is_forgotten_with_its_user(self, anonymous_api):
        anonymous_api.post(self.path, {"username": "Ada", "password": "wrong"})
        audit.delete_for_user(UserFactory.create(username="ada"))
        assert not AuditEvent.objects.exists()

    def test_a_one_time_link_is_a_sign_in(self, owner):
        secret = tokens.issue(owner, scope=Token.Scope.SIGN_IN, now=NOW)[1]
        with pytest.raises(tokens.InvalidToken):
            tokens.consume(secret.text, scope=Token.Scope.SIGN_IN, now=NOW + timedelta(days=1))
        secret = tokens.issue(owner, scope=Token.Scope.SIGN_IN, now=timezone.now())[1]
        browser = Client()
        browser.get(f"/sign-in/link/{secret.text}")
        browser.post("/sign-in/link")
        assert trail(owner)[1:] == ["token.issued", "token.used", "sign_in.succeeded"]


def test_the_life_of_a_token_is_told(owner):
    token, _ = user_token_and_row(owner, now=NOW)
    tokens.revoke(token)
    tokens.revoke(token)
    assert trail(owner) == ["token.issued", "token.revoked"]
    issued = AuditEvent.objects.get(action="token.issued")
    assert issued.after["scope"] == "auth"
    assert issued.target_name == f"{token.prefix}…"


def test_a_password_change_is_told_without_the_password(owner):
    user_token(owner)
    passwords.set_password(owner, "a new long passphrase")
    assert trail(owner)[1:] == ["password.changed", "token.all_revoked"]
    assert (
        not AuditEvent.objects.exclude(action="token.issued")
        .filter(after__has_key="password")
        .exists()
    )


def test_the_life_of_a_device_is_told(owner):
    device, _ = device_services.create_device(
        owner, name="pump", metadata={"wifi_psk": "x", "room": 1}
    )
    device_services.update_device(device, name="big pump")
    device_services.update_device(device, name="big pump")
    token, _ = device_services.issue_token(device)
    device_services.revoke_token(token)
    device_services.rotate_token(device, now=timezone.now())
    device_services.soft_delete(device, now=NOW + timedelta(days=9999))
    device_services.soft_delete(device, now=NOW + timedelta(days=9999))
    device_services.hard_delete(device)
    assert sorted(trail(owner)) == sorted(
        [
            "device.created",
            "device.changed",
            "token.issued",
            "token.revoked",
            "device.rotated",
            "device.decommissioned",
            "device.purged",
        ]
    )
    assert AuditEvent.objects.get(action="device.created").after["metadata"] == {
        "wifi_psk": "…",
        "room": 1,
    }
    changed = AuditEvent.objects.get(action="device.changed")
    assert (changed.before, changed.after) == ({"name": "pump"}, {"name": "big pump"})


def test_commands_are_told_but_not_what_is_in_them(owner_api, device, owner):
    path = f"/api/v1/devices/{device.pk}/commands"
    sent = owner_api.post(path, {"command_name": "join", "payload": {"key": "swordfish"}}).json()
    for _ in range(2):
        owner_api.post(f"{path}/{sent['id']}/cancel")
    told = AuditEvent.objects.filter(target_kind="command").order_by("created_at")
    assert [event.action for event in told] == ["command.issued", "command.cancelled"]
    assert [event.after for event in told] == [{"device": "greenhouse"}] * 2


def test_readings_leave_no_trace(device_api, device):
    before = AuditEvent.objects.count()
    reading = {"telemetry_type": "environment", "payload": {"temperature": 21.5}}
    for body in (reading, [reading, reading]):
        answer = device_api.post("/api/v1/device/telemetry", body)
    assert answer.status_code == 201
    assert AuditEvent.objects.count() == before


def test_a_trail_costs_a_request_one_query(owner, django_assert_num_queries):
    device = DeviceFactory.create(user=UserFactory.create())
    with django_assert_num_queries(1):
        audit.record("device.changed", target=device)
