"""Who leaves is gone at once, and nothing of them is left once the worker has been there."""

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
    register_key,
    send_to_many,
    store_readings,
    user_token,
)
from tests.stopping import after
from tests.telemetry.kept import keep

pytestmark = pytest.mark.django_db
ME = "/api/v1/users/me"


def leave(user, now=None):
    account_deletion.delete_account(user, password=PASSWORD, now=now or timezone.now())


def clear():
    """What the worker does of itself."""
    purge.purge_deleted()
    rollups.process_queue()
    account_deletion.purge_deleted_users(now=timezone.now())


class TestAtOnce:
    def test_nobody_can_sign_in_any_more(self, owner, owner_client):
        leave(owner)
        assert not Client().login(username="owner", password=PASSWORD)
        assert owner_client.get("/").status_code == 302
        assert User.objects.called("owner") is None

    @pytest.mark.parametrize("scope", list(Token.Scope))
    def test_every_token_is_refused(self, owner, scope):
        secret = tokens.issue(owner, scope=scope, now=timezone.now())[1]
        leave(owner)
        with pytest.raises(tokens.InvalidToken):
            tokens.get_active(secret.text, scope=scope, now=timezone.now())

    def test_devices_are_refused(self, owner, device, device_api):
        assert device_api.get("/api/v1/device").status_code == 200
        leave(owner)
        reading = {"telemetry_type": "environment", "payload": {"temperature": 1}}
        assert device_api.post("/api/v1/device/telemetry", reading).status_code == 401
        assert device_api.get("/api/v1/device/commands").status_code == 401
        assert not Telemetry.objects.exists()

    def test_name_and_address_are_free_again(self, owner):
        leave(owner)
        again = User.objects.create_user("Owner", "OWNER@example.org", PASSWORD)
        assert Client().login(username="owner", password=PASSWORD)
        clear()
        assert User.objects.get() == again

    def test_the_admin_does_not_list_them(self, owner, staff_client):
        leave(owner)
        assert b"deleted." not in staff_client.get("/admin/accounts/user/").content


class TestWhoMay:
    def test_a_wrong_password_deletes_nothing(self, owner, owner_api, device):
        answer = owner_api.delete(ME, {"password": "wrong"})
        assert answer.status_code == 403
        assert answer.json()["type"] == "urn:telemetry:problem:wrong-password"
        assert User.objects.get(pk=owner.pk).is_active
        assert Device.objects.get().deleted_at is None

    def test_without_one_it_is_422(self, owner_api):
        assert owner_api.delete(ME).status_code == 422

    def test_with_the_right_one_all_is_gone(self, owner, owner_api, device):
        assert owner_api.delete(ME, {"password": PASSWORD}).status_code == 204
        assert owner_api.get("/api/v1/devices").status_code == 401
        clear()
        assert not User.objects.exists()
        assert not Device.objects.exists()

    def test_the_last_administrator_stays(self, staff):
        answer = Api(user_token(staff)).delete(ME, {"password": PASSWORD})
        assert answer.status_code == 409
        assert answer.json()["type"] == "urn:telemetry:problem:last-administrator"
        assert User.objects.get(pk=staff.pk).is_active

    def test_one_of_two_administrators_may_go(self, staff, owner):
        User.objects.filter(pk=owner.pk).update(is_superuser=True)
        leave(staff)
        owner.refresh_from_db()
        with pytest.raises(deletion.LastSuperuserError):
            leave(owner)


class TestPage:
    path = "/account/delete"

    def test_it_tells_how_much_goes_and_asks_for_the_password(self, owner_client, device):
        assert b"1 device and everything" in owner_client.get(self.path).content
        answer = owner_client.post(self.path, {"password": "wrong"})
        assert answer.status_code == 422
        assert b"This is not your password." in answer.content

    def test_the_right_one_says_goodbye(self, owner, owner_client):
        answer = owner_client.post(self.path, {"password": PASSWORD}, follow=True)
        assert b"Your account is deleted" in answer.content
        assert owner_client.get("/").status_code == 302
        clear()
        assert not User.objects.exists()

    def test_the_last_administrator_is_told_what_to_do(self, staff_client):
        answer = staff_client.post(self.path, {"password": PASSWORD})
        assert b"Make somebody else an administrator first." in answer.content

    def test_who_has_no_password_is_told_to_set_one(self, owner):
        passwords.set_password(owner, None)
        client = signed_in(owner)
        assert b"You have no password" in client.get(self.path).content
        assert client.post(self.path, {"password": ""}).status_code == 422


def everything():
    """The rows of all tables as text, by table."""
    found = {}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"
        )
        for (table,) in cursor.fetchall():
            cursor.execute(f'SELECT t::text FROM "{table}" t')  # noqa: S608
            found[table] = "\n".join(row for (row,) in cursor.fetchall())
    return found


def with_all_there_is(owner, staff):
    """Give a user a row in every table that refers to one or to a device; return their traces."""
    device = DeviceFactory.create(user=owner, name="attic-of-the-owner", metadata={"to": "owner"})
    store_readings(device, payloads=[{"temperature": n} for n in range(3)])
    keys = {"device": device, "telemetry_type": "environment", "key": "temperature"}
    for model in (HourRollup, DayRollup):
        model.objects.create(**keys, bucket=NOW, count=1, sum=1, min=1, max=1)
    register_key(device, "soil.moisture")
    Delivery.objects.create(device=device, idempotency_key="k", body_digest=b"", received_at=NOW)
    keep(30, device=device)
    command = CommandFactory.create(device=device, issued_by=owner)
    traces_of_many = send_to_many(device)
    of_others = CommandFactory.create(issued_by=owner)
    device_token(device)
    user_token(owner)
    signed_in(owner).get("/account/activity")
    owner.groups.create(name="night shift")
    codes = {"seed": bytes(32), "last_step": 0, "created_at": NOW}
    SecondFactor.objects.create(user=owner, **codes)
    RecoveryCode.objects.create(user=owner, code_hash=bytes(32))
    audit.record("sign_in.failed", name="OWNER")
    audit.record("device.changed", target=device, by=staff)
    traces = [owner.username, owner.email, owner.pk, device.pk, device.name, command.pk]
    traces.append(traces_of_many.pk)
    return of_others, [str(trace) for trace in traces]


def referring():
    """The models with a reference to a user or to a device, by what refers."""
    return {
        (model, field.name)
        for model in apps.get_models(include_auto_created=True)
        for field in model._meta.concrete_fields
        if field.related_model in (User, Device)
    }


def test_nothing_of_them_is_left_in_any_table(owner, staff, settings, tmp_path):
    settings.DATA_EXPORT_DIR = tmp_path
    of_others, traces = with_all_there_is(owner, staff)
    signed_in(owner).post("/account/data")
    data_export.build_pending()
    before = "\n".join(everything().values())
    assert all(trace in before for trace in traces)
    leave(owner)
    clear()
    left = {
        table: trace
        for table, rows in everything().items()
        for trace in traces
        if trace.lower() in rows.lower()
    }
    assert left == {}
    of_others.refresh_from_db()
    assert of_others.issued_by is None
    assert User.objects.filter(pk=staff.pk).exists()


def test_the_test_above_fills_every_table_that_refers_to_somebody(owner, staff, settings, tmp_path):
    settings.DATA_EXPORT_DIR = tmp_path
    with_all_there_is(owner, staff)
    signed_in(owner).post("/account/data")
    others = {
        # Those that only staff come into.
        ("LogEntry", "user"),
        ("Registration", "invited_by"),
        ("User_user_permissions", "user"),
        # Written by retention, by the worker, by who is refused and by who looks.
        ("Horizon", "device"),
        ("Purge", "device"),
        ("Refusal", "device"),
        ("Watch", "user"),
    }
    empty = {
        (model.__name__, field)
        for model, field in referring()
        if not model._default_manager.filter(
            **{field: owner} if model._meta.get_field(field).related_model is User else {}
        ).exists()
    }
    assert empty <= others


def test_that_somebody_left_is_told_without_saying_who(owner):
    leave(owner)
    clear()
    event = AuditEvent.objects.get()
    assert event.action == "user.deleted"
    assert (event.owner, event.actor_id, event.actor_name, event.target_name) == (
        None,
        None,
        "",
        "",
    )


def test_of_staff_who_leave_the_name_stays_where_they_acted(owner, staff):
    User.objects.filter(pk=owner.pk).update(is_superuser=True)
    audit.record("user.changed", target=owner, by=staff)
    leave(staff)
    clear()
    assert AuditEvent.objects.get(owner=owner).actor_name == "staff"


def test_a_device_that_was_added_at_the_last_moment_goes_too(owner):
    leave(owner)
    DeviceFactory.create(user=owner)
    clear()
    assert User.objects.filter(pk=owner.pk).exists()
    clear()
    assert not Device.objects.exists()
    assert not User.objects.exists()


def test_others_are_left_alone(owner, stranger, device):
    theirs = DeviceFactory.create(user=stranger)
    store_readings(theirs, payloads=[{"temperature": 1}])
    token = user_token(stranger)
    CommandFactory.create(device=theirs)
    keep(30, device=theirs)
    leave(owner)
    clear()
    assert User.objects.get() == stranger
    assert Device.objects.get() == theirs
    assert Api(token).get("/api/v1/devices").status_code == 200
    for model in (Telemetry, Command, RetentionRule):
        assert model.objects.count() == 1
    assert not Key.objects.exclude(device=theirs).exists()


def test_one_that_is_told_to_stop_forgets_no_further_user(owner, stranger):
    for user in (owner, stranger):
        leave(user)
    account_deletion.purge_deleted_users(now=timezone.now(), should_stop=after(1))
    assert User.objects.count() == 1
    clear()
    assert not User.objects.exists()
