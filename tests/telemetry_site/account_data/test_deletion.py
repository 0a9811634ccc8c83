"""Account deletion: access ends immediately; the next jobs delete all rows."""

import pytest
from django.apps import apps
from django.db import connection
from django.test import Client
from django.utils import timezone

from accounts.audit import log as audit
from accounts.models import AuditEvent, RecoveryCode, SecondFactor, Token, User
from accounts.passwords import services as passwords
from accounts.tokens import services as tokens
from accounts.users import deletion
from commands.models import Command
from devices.models import Device
from telemetry.models import DayRollup, Delivery, HourRollup, Key, RetentionRule, Telemetry
from telemetry.retention import purge
from telemetry.rollups import build as rollups
from telemetry_site.account_data import deletion as account_deletion
from telemetry_site.account_data import export as data_export
from tests.conftest import Api, signed_in
from tests.factories import (
    NOW,
    PASSWORD,
    CommandFactory,
    DeviceFactory,
    device_token,
    issue_batch,
    register_key,
    store_readings,
    user_token,
)
from tests.stopping import stop_after
from tests.telemetry.retention_rules import create_rule

pytestmark = pytest.mark.django_db
ME = "/api/v1/users/me"


def delete(user, now=None):
    account_deletion.delete_account(user, password=PASSWORD, now=now or timezone.now())


def run_purge_jobs():
    """Run the jobs that purge deleted devices and users."""
    purge.purge_deleted()
    rollups.process_queue()
    account_deletion.purge_deleted_users(now=timezone.now())


class TestImmediately:
    def test_a_deleted_user_cannot_sign_in(self, owner, owner_client):
        delete(owner)
        assert not Client().login(username="owner", password=PASSWORD)
        assert owner_client.get("/").status_code == 302
        assert User.objects.get_by_login("owner") is None

    @pytest.mark.parametrize("scope", list(Token.Scope))
    def test_every_token_of_a_deleted_user_is_rejected(self, owner, scope):
        secret = tokens.issue(owner, scope=scope, now=timezone.now())[1]
        delete(owner)
        with pytest.raises(tokens.InvalidToken):
            tokens.get_active(secret.text, scope=scope, now=timezone.now())

    def test_requests_of_devices_of_a_deleted_user_are_rejected(self, owner, device, device_api):
        assert device_api.get("/api/v1/device").status_code == 200
        delete(owner)
        reading = {"telemetry_type": "environment", "payload": {"temperature": 1}}
        assert device_api.post("/api/v1/device/telemetry", reading).status_code == 401
        assert device_api.get("/api/v1/device/commands").status_code == 401
        assert not Telemetry.objects.exists()

    def test_username_and_email_of_a_deleted_user_can_be_used_again(self, owner):
        delete(owner)
        again = User.objects.create_user("Owner", "OWNER@example.org", PASSWORD)
        assert Client().login(username="owner", password=PASSWORD)
        run_purge_jobs()
        assert User.objects.get() == again

    def test_the_admin_does_not_list_deleted_users(self, owner, staff_client):
        delete(owner)
        assert b"deleted." not in staff_client.get("/admin/accounts/user/").content


class TestPermission:
    def test_with_a_wrong_password_nothing_is_deleted(self, owner, owner_api, device):
        answer = owner_api.delete(ME, {"password": "wrong"})
        assert answer.status_code == 403
        assert answer.json()["type"] == "urn:telemetry:problem:wrong-password"
        assert User.objects.get(pk=owner.pk).is_active
        assert Device.objects.get().deleted_at is None

    def test_without_a_password_it_is_422(self, owner_api):
        assert owner_api.delete(ME).status_code == 422

    def test_with_the_right_password_the_account_and_its_devices_are_deleted(
        self, owner, owner_api, device
    ):
        assert owner_api.delete(ME, {"password": PASSWORD}).status_code == 204
        assert owner_api.get("/api/v1/devices").status_code == 401
        run_purge_jobs()
        assert not User.objects.exists()
        assert not Device.objects.exists()

    def test_the_last_superuser_cannot_delete_their_account(self, staff):
        answer = Api(user_token(staff)).delete(ME, {"password": PASSWORD})
        assert answer.status_code == 409
        assert answer.json()["type"] == "urn:telemetry:problem:last-administrator"
        assert User.objects.get(pk=staff.pk).is_active

    def test_one_of_two_superusers_can_delete_their_account(self, staff, owner):
        User.objects.filter(pk=owner.pk).update(is_superuser=True)
        delete(staff)
        owner.refresh_from_db()
        with pytest.raises(deletion.LastSuperuserError):
            delete(owner)


class TestPage:
    path = "/account/delete"

    def test_the_page_shows_the_number_of_devices_and_asks_for_the_password(
        self, owner_client, device
    ):
        assert b"1 device and all its data" in owner_client.get(self.path).content
        answer = owner_client.post(self.path, {"password": "wrong"})
        assert answer.status_code == 422
        assert b"Wrong password." in answer.content

    def test_after_the_deletion_the_user_sees_a_confirmation(self, owner, owner_client):
        answer = owner_client.post(self.path, {"password": PASSWORD}, follow=True)
        assert b"Account deleted" in answer.content
        assert owner_client.get("/").status_code == 302
        run_purge_jobs()
        assert not User.objects.exists()

    def test_the_last_superuser_sees_how_to_proceed(self, staff_client):
        answer = staff_client.post(self.path, {"password": PASSWORD})
        assert b"Make another user an administrator first." in answer.content

    def test_a_user_without_a_password_is_asked_to_set_one(self, owner):
        passwords.set_password(owner, None)
        client = signed_in(owner)
        assert b"You need a password" in client.get(self.path).content
        assert client.post(self.path, {"password": ""}).status_code == 422


def dump_tables():
    """Return the rows of all tables as text, by table."""
    found = {}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"
        )
        for (table,) in cursor.fetchall():
            cursor.execute(f'SELECT t::text FROM "{table}" t')  # noqa: S608
            found[table] = "\n".join(row for (row,) in cursor.fetchall())
    return found


def create_all_data(owner, staff):
    """Create a row in every table that refers to a user or device; return the values that identify
    them.
    """
    device = DeviceFactory.create(user=owner, name="attic-of-the-owner", metadata={"to": "owner"})
    store_readings(device, payloads=[{"temperature": n} for n in range(3)])
    keys = {"device": device, "telemetry_type": "environment", "key": "temperature"}
    for model in (HourRollup, DayRollup):
        model.objects.create(**keys, bucket=NOW, count=1, sum=1, min=1, max=1)
    register_key(device, "soil.moisture")
    Delivery.objects.create(device=device, idempotency_key="k", body_digest=b"", received_at=NOW)
    create_rule(30, device=device)
    command = CommandFactory.create(device=device, issued_by=owner)
    traces_of_many = issue_batch(device)
    of_others = CommandFactory.create(issued_by=owner)
    device_token(device)
    user_token(owner)
    signed_in(owner).get("/account/activity")
    owner.groups.create(name="night shift")
    codes = {"seed": bytes(32), "last_step": 0, "created_at": NOW}
    SecondFactor.objects.create(user=owner, **codes)
    RecoveryCode.objects.create(user=owner, code_hash=bytes(32))
    audit.record("sign_in.failed", name="OWNER")
    audit.record("device.changed", target=device, actor=staff)
    traces = [owner.username, owner.email, owner.pk, device.pk, device.name, command.pk]
    traces.append(traces_of_many.pk)
    return of_others, [str(trace) for trace in traces]


def references():
    """Return the models and fields that refer to a user or a device."""
    return {
        (model, field.name)
        for model in apps.get_models(include_auto_created=True)
        for field in model._meta.concrete_fields
        if field.related_model in (User, Device)
    }


def test_after_the_purge_no_table_contains_data_of_the_user(owner, staff, settings, tmp_path):
    settings.DATA_EXPORT_DIR = tmp_path
    of_others, traces = create_all_data(owner, staff)
    signed_in(owner).post("/account/data")
    data_export.build_pending()
    before = "\n".join(dump_tables().values())
    assert all(trace in before for trace in traces)
    delete(owner)
    run_purge_jobs()
    left = {
        table: trace
        for table, rows in dump_tables().items()
        for trace in traces
        if trace.lower() in rows.lower()
    }
    assert left == {}
    of_others.refresh_from_db()
    assert of_others.issued_by is None
    assert User.objects.filter(pk=staff.pk).exists()


def test_the_test_data_fills_every_table_that_refers_to_a_user_or_device(
    owner, staff, settings, tmp_path
):
    settings.DATA_EXPORT_DIR = tmp_path
    create_all_data(owner, staff)
    signed_in(owner).post("/account/data")
    others = {
        # Tables for staff only.
        ("LogEntry", "user"),
        ("Registration", "invited_by"),
        ("User_user_permissions", "user"),
        # Tables written by retention, by the worker, by rejected requests and by open pages.
        ("Horizon", "device"),
        ("Purge", "device"),
        ("Refusal", "device"),
        ("Watch", "user"),
    }
    empty = {
        (model.__name__, field)
        for model, field in references()
        if not model._default_manager.filter(
            **{field: owner} if model._meta.get_field(field).related_model is User else {}
        ).exists()
    }
    assert empty <= others


def test_the_audit_trail_records_a_deletion_without_the_user(owner):
    delete(owner)
    run_purge_jobs()
    event = AuditEvent.objects.get()
    assert event.action == "user.deleted"
    assert (event.owner, event.actor_id, event.actor_name, event.target_name) == (
        None,
        None,
        "",
        "",
    )


def test_the_name_of_deleted_staff_stays_in_events_of_other_users(owner, staff):
    User.objects.filter(pk=owner.pk).update(is_superuser=True)
    audit.record("user.changed", target=owner, actor=staff)
    delete(staff)
    run_purge_jobs()
    assert AuditEvent.objects.get(owner=owner).actor_name == "staff"


def test_a_device_created_during_the_deletion_is_purged_too(owner):
    delete(owner)
    DeviceFactory.create(user=owner)
    run_purge_jobs()
    assert User.objects.filter(pk=owner.pk).exists()
    run_purge_jobs()
    assert not Device.objects.exists()
    assert not User.objects.exists()


def test_data_of_other_users_is_not_deleted(owner, stranger, device):
    theirs = DeviceFactory.create(user=stranger)
    store_readings(theirs, payloads=[{"temperature": 1}])
    token = user_token(stranger)
    CommandFactory.create(device=theirs)
    create_rule(30, device=theirs)
    delete(owner)
    run_purge_jobs()
    assert User.objects.get() == stranger
    assert Device.objects.get() == theirs
    assert Api(token).get("/api/v1/devices").status_code == 200
    for model in (Telemetry, Command, RetentionRule):
        assert model.objects.count() == 1
    assert not Key.objects.exclude(device=theirs).exists()


def test_a_stopped_purge_deletes_no_further_user(owner, stranger):
    for user in (owner, stranger):
        delete(user)
    account_deletion.purge_deleted_users(now=timezone.now(), should_stop=stop_after(1))
    assert User.objects.count() == 1
    run_purge_jobs()
    assert not User.objects.exists()
