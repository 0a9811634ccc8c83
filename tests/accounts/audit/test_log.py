"""Audit events: their actor, their content and their retention."""

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
from accounts.tokens import format as token_format
from accounts.tokens import services as tokens
from devices.authentication import DeviceTokenAuthentication
from tests.accounts.audit.trail import record, trail
from tests.factories import (
    NOW,
    PASSWORD,
    DeviceFactory,
    UserFactory,
    device_token,
    user_token,
)

pytestmark = pytest.mark.django_db


class TestAppendOnly:
    @pytest.mark.parametrize(
        "statement",
        ["UPDATE audit_events SET actor_name = 'another user'", "DELETE FROM audit_events"],
    )
    def test_the_database_rejects_every_update_and_delete(self, owner, statement):
        record(target=owner)
        with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
            connection.cursor().execute(statement)
        assert AuditEvent.objects.count() == 1

    def test_the_database_rejects_truncate(self):
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL audit.truncating = ''")
        with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
            connection.cursor().execute("TRUNCATE audit_events")

    def test_a_user_with_audit_events_cannot_be_deleted(self, owner):
        record(target=owner)
        with pytest.raises(IntegrityError), transaction.atomic():
            owner.delete()

    def test_the_table_is_append_only_again_after_delete_for_user(self, owner, stranger):
        record(target=owner)
        record(target=stranger)
        audit.delete_for_user(owner)
        assert AuditEvent.objects.get().owner == stranger
        with pytest.raises(IntegrityError), transaction.atomic():
            AuditEvent.objects.all().delete()

    def test_a_rollback_removes_the_event_too(self, owner):
        with transaction.atomic():
            user_token(owner)
            transaction.set_rollback(True)
        assert trail(owner) == []


class TestDeletion:
    def test_deleting_a_user_deletes_failed_logins_with_their_name_or_email(self, owner):
        for name in ("OWNER", owner.email, "another"):
            audit.record("sign_in.failed", name=name)
        audit.delete_for_user(owner)
        assert AuditEvent.objects.get().target_name == "another"

    def test_events_of_other_users_keep_the_name_of_a_deleted_actor(self, staff, owner):
        record(target=owner, actor=staff)
        audit.delete_for_user(staff)
        event = AuditEvent.objects.get()
        assert (event.actor_name, event.actor_id, event.owner) == ("staff", staff.pk, owner)

    def test_expired_events_are_deleted_and_failed_logins_expire_earlier(self, owner, settings):
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


class TestActor:
    def test_the_actor_of_a_token_request_is_its_user(self, owner, owner_api):
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

    def test_the_actor_of_a_session_request_is_its_user(self, owner, owner_client):
        owner_client.post(
            "/devices/new", {"name": "pump", "device_type": "pump", "expected_interval": 60}
        )
        event = AuditEvent.objects.get(action="device.created")
        assert (event.means, event.actor_id) == ("session", owner.pk)

    def test_an_action_of_staff_is_in_the_trail_of_the_affected_user(
        self, staff_client, staff, owner, device
    ):
        body = {"action": "rotate_tokens", "confirmed": "yes", "_selected_action": [str(device.pk)]}
        staff_client.post("/admin/devices/device/", body)
        event = AuditEvent.objects.get(action="device.rotated")
        assert (event.owner, event.actor_name) == (owner, "staff")
        assert event.ip_address_for_owner is None

    def test_an_event_of_a_device_names_the_device_and_no_user(self, device, rf):
        token = device_token(device)
        with audit.audit_context(
            lambda: None, auth_method=audit.Means.SESSION, ip_address="192.0.2.1"
        ):
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
    def test_an_event_without_a_request_names_the_process(
        self, owner, monkeypatch, argv, means, name
    ):
        monkeypatch.setattr(sys, "argv", argv)
        event = record(target=owner)
        assert (event.means, event.means_name) == (means, name)
        assert (event.actor_id, event.actor_name, event.address) == (None, "", None)

    def test_the_actor_is_reset_for_the_next_request_of_a_thread(
        self, owner_api, stranger, anonymous_api
    ):
        owner_api.post("/api/v1/devices", {"name": "pump"})
        anonymous_api.post("/api/v1/auth/login", {"username": "stranger", "password": "wrong"})
        event = AuditEvent.objects.get(owner=stranger)
        assert (event.means, event.means_id, event.actor_id) == ("nothing", "", None)


class TestContent:
    def test_only_differences_between_before_and_after_are_stored(self, owner):
        event = record(target=owner, before={"a": 1, "b": 2}, after={"a": 1, "b": 3, "c": 4})
        assert (event.before, event.after) == ({"b": 2}, {"b": 3, "c": 4})

    def test_an_event_without_differences_is_not_stored(self, owner):
        audit.record("user.changed", target=owner, before={"a": 1}, after={"a": 1})
        assert trail(owner) == []

    def test_secrets_are_redacted(self, owner):
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

    def test_an_unknown_action_raises_an_assertion_error(self, owner):
        with pytest.raises(AssertionError):
            audit.record("made.up", target=owner)


class TestLogins:
    path = "/api/v1/auth/login"

    def test_a_successful_login_is_in_the_trail_of_its_user(self, owner, anonymous_api):
        anonymous_api.post(self.path, {"username": "owner", "password": PASSWORD})
        assert trail(owner) == ["sign_in.succeeded", "token.issued"]
        assert AuditEvent.objects.get(action="sign_in.succeeded").actor_id == owner.pk

    def test_a_failed_login_is_in_the_trail_of_the_user_with_that_email(self, owner, anonymous_api):
        anonymous_api.post(self.path, {"email": owner.email, "password": "wrong"})
        event = AuditEvent.objects.get()
        assert (event.action, event.owner, event.actor_id) == ("sign_in.failed", owner, None)
        assert event.ip_address_for_owner == "127.0.0.1"

    @pytest.mark.parametrize(
        "typed", ["unknown", "unknown@example.org", "MyPassw0rd2026", "Tr0ub4dor&3", "x" * 254]
    )
    def test_only_two_letters_and_a_digest_of_an_unknown_username_are_stored(
        self, anonymous_api, typed
    ):
        for equals_ignoring_case in (typed, typed.upper()):
            anonymous_api.post(self.path, {"username": equals_ignoring_case, "password": "wrong"})
        first, second = AuditEvent.objects.all()
        assert (first.action, first.owner) == ("sign_in.failed", None)
        assert re.fullmatch(rf"{typed[:2].lower()}… \([0-9a-f]{{8}}\)", first.target_name)
        assert first.target_name == second.target_name

    def test_failed_logins_from_before_a_user_existed_are_deleted_with_the_user(
        self, anonymous_api
    ):
        anonymous_api.post(self.path, {"username": "Ada", "password": "wrong"})
        audit.delete_for_user(UserFactory.create(username="ada"))
        assert not AuditEvent.objects.exists()

    def test_a_one_time_link_is_recorded_as_a_login(self, owner):
        secret = tokens.issue(owner, scope=Token.Scope.SIGN_IN, now=NOW)[1]
        with pytest.raises(tokens.InvalidToken):
            tokens.consume(secret.text, scope=Token.Scope.SIGN_IN, now=NOW + timedelta(days=1))
        secret = tokens.issue(owner, scope=Token.Scope.SIGN_IN, now=timezone.now())[1]
        browser = Client()
        browser.get(f"/sign-in/link/{secret.text}")
        browser.post("/sign-in/link")
        assert trail(owner)[1:] == ["token.issued", "token.used", "sign_in.succeeded"]


def test_recording_an_event_takes_one_query(owner, django_assert_num_queries):
    device = DeviceFactory.create(user=UserFactory.create())
    with django_assert_num_queries(1):
        audit.record("device.changed", target=device)
