"""Events that are recorded for tokens, passwords, devices and commands."""

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.models import AuditEvent
from accounts.passwords import services as passwords
from accounts.tokens import services as tokens
from devices import services as device_services
from tests.accounts.audit.trail import trail
from tests.factories import (
    NOW,
    user_token,
    user_token_and_row,
)

pytestmark = pytest.mark.django_db


def test_issue_and_revocation_of_a_token_are_recorded_once(owner):
    token, _ = user_token_and_row(owner, now=NOW)
    tokens.revoke(token)
    tokens.revoke(token)
    assert trail(owner) == ["token.issued", "token.revoked"]
    issued = AuditEvent.objects.get(action="token.issued")
    assert issued.after["scope"] == "auth"
    assert issued.target_name == f"{token.prefix}…"


def test_a_password_change_is_recorded_without_the_password(owner):
    user_token(owner)
    passwords.set_password(owner, "a new long passphrase")
    assert trail(owner)[1:] == ["password.changed", "token.all_revoked"]
    assert (
        not AuditEvent.objects.exclude(action="token.issued")
        .filter(after__has_key="password")
        .exists()
    )


def test_all_changes_of_a_device_are_recorded(owner):
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


def test_commands_are_recorded_without_their_payload(owner_api, device, owner):
    path = f"/api/v1/devices/{device.pk}/commands"
    sent = owner_api.post(path, {"command_name": "join", "payload": {"key": "swordfish"}}).json()
    for _ in range(2):
        owner_api.post(f"{path}/{sent['id']}/cancel")
    events = AuditEvent.objects.filter(target_kind="command").order_by("created_at")
    assert [event.action for event in events] == ["command.issued", "command.cancelled"]
    assert [event.after for event in events] == [{"device": "greenhouse"}] * 2


def test_readings_are_not_recorded(device_api, device):
    before = AuditEvent.objects.count()
    reading = {"telemetry_type": "environment", "payload": {"temperature": 21.5}}
    for body in (reading, [reading, reading]):
        response = device_api.post("/api/v1/device/telemetry", body)
    assert response.status_code == 201
    assert AuditEvent.objects.count() == before
