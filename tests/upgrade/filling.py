"""Fill an empty database through the API, so that every table has rows.

Only data that the API cannot create is created with the models.
"""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection
from django.test import Client
from django.utils import timezone

from accounts.models import Archive, Session, Throttle, User
from commands.models import CommandType
from devices import events
from devices.models import Device
from telemetry.models import Horizon, Purge, RetentionRule
from telemetry.rollups import build as rollups
from tests.factories import PASSWORD, StaffFactory, UserFactory, enable_mfa

FAR_FUTURE = datetime(2999, 1, 1, tzinfo=UTC)
READ_AT = datetime(2026, 11, 5, 10, 0, tzinfo=UTC)
CHART = {
    "key": "environment.temperature",
    "from": "2026-11-06T00:00:00Z",
    "to": "2026-11-07T00:00:00Z",
    "points": 10,
}
EMPTY = {
    # No rows by design.
    "users_groups",
    "users_user_permissions",
    "auth_group_permissions",
    "django_admin_log",
    "django_session",
    "telemetry_default",
    "procrastinate_workers",
    "procrastinate_periodic_defers",
}
"""Tables that may be empty."""


def fill() -> None:
    """Fill the database and print as JSON what a client knows afterwards."""
    known: dict[str, Any] = {"password": PASSWORD}
    owner = UserFactory.create(username="owner", email="owner@example.org")
    StaffFactory.create(username="support")
    enable_mfa(UserFactory.create(username="careful"), now=timezone.now())
    # The third response asks for a code, because this user has enabled MFA.
    known["sign_in"] = [sign_in(name).status_code for name in ("owner", "support", "careful")]
    known["user_token"] = json_of(sign_in("owner"))["token"]
    api = bearer(known["user_token"])
    fill_devices(api, known)
    fill_commands(api, known)
    fill_site(owner, known)
    check_every_table_has_rows()
    print(json.dumps(known))  # noqa: T201 - the script reads it


def bearer(token: str) -> Client:
    """Return an API client with this token."""
    return Client(headers={"Authorization": f"Bearer {token}"})


def sign_in(name: str) -> Any:
    """Return the response to a login with username and password."""
    body = {"username": name, "password": PASSWORD}
    return Client().post("/api/v1/auth/login", body, "application/json")


def post(client: Client, path: str, body: Any, **headers: str) -> Any:
    """Send a POST request and return the JSON of its response."""
    return json_of(client.post(path, body, "application/json", headers=headers))


def json_of(response: Any) -> Any:
    """Return the JSON of a successful response."""
    assert response.status_code < 300, response.content
    return response.json()


def fill_devices(api: Client, known: dict[str, Any]) -> None:
    """Create two devices, a deleted one, a token, and readings with and without Idempotency-Key."""
    body = {"name": "thé, 茶", "device_type": "thermostat", "metadata": {"room": "north"}}
    device = post(api, "/api/v1/devices", body)
    known["device"] = device["id"]
    known["device_token"] = device["token"]
    other = post(api, "/api/v1/devices", {"name": "other", "device_type": "thermostat"})
    known["other"] = other["id"]
    gone = post(api, "/api/v1/devices", {"name": "gone"})
    api.delete(f"/api/v1/devices/{gone['id']}")
    Purge.objects.create(device_id=gone["id"], expected=3, started_at=timezone.now())
    sender = bearer(device["token"])
    path = "/api/v1/device/telemetry"
    readings = [
        {
            "telemetry_type": "environment",
            "payload": {"temperature": 20 + number / 7, "note": "ü"},
            "recorded_at": (READ_AT + number * timedelta(minutes=50)).isoformat(),
        }
        for number in range(60)
    ]
    post(sender, path, readings)
    known["body"] = {"telemetry_type": "button", "payload": {"pressed": True}}
    known["idempotency_key"] = "first-press"
    known["receipt"] = post(sender, path, known["body"], **{"Idempotency-Key": "first-press"})
    sender.post(path, {"telemetry_type": "environment"}, "application/json")
    rollups.process_queue()
    rollups.roll_up_closed_hours(timezone.now())
    # A late reading of an hour that was rolled up: the hour stays in the rollup queue.
    late = {**readings[0], "payload": {"temperature": 1}}
    late["recorded_at"] = (READ_AT + timedelta(minutes=5)).isoformat()
    post(sender, path, late)
    RetentionRule.objects.create(device_type="camera", raw_days=30, hour_days=90)
    Horizon.objects.create(device_id=other["id"], raw=READ_AT - timedelta(days=1))
    events.mark_watched([Device.objects.get(pk=other["id"]).pk])
    history = json_of(api.get(f"/api/v1/devices/{device['id']}/telemetry", {"limit": 20}))
    known["history"] = history["results"]
    known["chart"] = json_of(api.get(f"/api/v1/devices/{device['id']}/telemetry/series", CHART))


def fill_commands(api: Client, known: dict[str, Any]) -> None:
    """Create an executed command, a claimed command and a batch."""
    schema = {"type": "object", "properties": {"delay": {"type": "integer"}}}
    CommandType.objects.create(
        device_type="thermostat", command_name="reboot", title="Reboot", payload_schema=schema
    )
    path = f"/api/v1/devices/{known['device']}/commands"
    sender = bearer(known["device_token"])
    key = {"Idempotency-Key": "once"}
    post(api, path, {"command_name": "reboot", "payload": {}}, **key)
    claimed = json_of(sender.get("/api/v1/device/commands"))
    done = {"status": "executed", "executed_at": "2026-11-30T10:00:00Z", "result": {"ok": True}}
    where = f"/api/v1/device/commands/{claimed['results'][0]['id']}"
    json_of(sender.patch(where, done, "application/json"))
    post(api, path, {"command_name": "reboot", "payload": {}})
    both = {"devices": [known["device"], known["other"]], "command_name": "reboot"}
    known["batch"] = post(api, "/api/v1/command-batches", {**both, "payload": {}})
    known["commands"] = json_of(api.get(path))["results"]


def fill_site(owner: User, known: dict[str, Any]) -> None:
    """Create a session, a new user, an invitation with mail, a data export and a failed login."""
    browser = Client()
    browser.force_login(owner)
    # Without this the session would have expired when the test uses it.
    Session.objects.filter(user=owner).update(expires_at=FAR_FUTURE, last_seen_at=FAR_FUTURE)
    known["cookies"] = {name: morsel.value for name, morsel in browser.cookies.items()}
    body = {"username": "novice", "email": "novice@example.org", "password": PASSWORD}
    assert Client().post("/api/v1/auth/register", body, "application/json").status_code == 202
    support = bearer(json_of(sign_in("support"))["token"])
    invited = support.post("/api/v1/invitations", {"email": "new@example.org"}, "application/json")
    assert invited.status_code == 202
    Client().post("/api/v1/auth/login", {**body, "password": "wrong"}, "application/json")
    Throttle.objects.get_or_create(key=bytes(32), defaults={"tries": 1, "ends_at": FAR_FUTURE})
    Archive.objects.create(user=owner, requested_at=timezone.now())
    known["audit"] = json_of(bearer(known["user_token"]).get("/api/v1/audit"))["results"]


def check_every_table_has_rows() -> None:
    """Raise AssertionError if a table that is not in EMPTY has no rows."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition"
            " AND relnamespace = 'public'::regnamespace"
        )
        tables = {name for (name,) in cursor.fetchall()} - EMPTY
        for table in sorted(tables):
            cursor.execute(f'SELECT EXISTS (SELECT FROM "{table}")')  # noqa: S608 - the catalogue's
            assert cursor.fetchone()[0], f"{table} is empty"
