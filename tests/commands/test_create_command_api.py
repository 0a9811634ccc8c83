"""API for users: send, list, resend and cancel commands."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from commands.models import Command
from common import timestamps
from tests.commands.paths import CLAIM, commands_path
from tests.factories import NOW, CommandFactory, CommandTypeFactory, DeviceFactory
from tests.problems import error_pointers


class TestIssuing:
    def test_a_new_command_is_201_and_pending(self, owner, device, owner_api):
        before = datetime.now(UTC)
        response = owner_api.post(
            commands_path(device), {"command_name": "set", "payload": {"target": 20}}
        )
        assert response.status_code == 201
        shown = response.json()
        assert set(shown) == {
            "id", "device_id", "command_name", "payload", "status", "reason", "result", "attempts",
            "created_at", "delivered_at", "expires_at", "executed_at", "finished_at", "late",
            "retry_of_id", "batch_id",
        }  # fmt: skip
        assert (shown["status"], shown["payload"]) == ("pending", {"target": 20})
        lifetime = timestamps.parse(shown["expires_at"]) - timestamps.parse(shown["created_at"])
        assert lifetime == timedelta(hours=1)
        assert timestamps.parse(shown["created_at"]) >= before
        assert Command.objects.get().issued_by == owner

    def test_expires_in_sets_the_lifetime(self, device, owner_api):
        shown = owner_api.post(commands_path(device), {"command_name": "a", "expires_in": 5}).json()
        lifetime = timestamps.parse(shown["expires_at"]) - timestamps.parse(shown["created_at"])
        assert lifetime == timedelta(seconds=5)

    @pytest.mark.parametrize(
        ("body", "pointer"),
        [
            ({}, "/command_name"),
            ({"command_name": ""}, "/command_name"),
            ({"command_name": "a b"}, "/command_name"),
            ({"command_name": "a\0"}, "/command_name"),
            ({"command_name": "x" * 65}, "/command_name"),
            ({"command_name": None}, "/command_name"),
            ({"command_name": {"a": 1}}, "/command_name"),
            ({"command_name": "a", "payload": []}, "/payload"),
            ({"command_name": "a", "payload": None}, "/payload"),
            ({"command_name": "a", "payload": {"a": ["\0"]}}, "/payload/a/0"),
            ({"command_name": "a", "payload": {"a": 2**60}}, "/payload/a"),
            ({"command_name": "a", "expires_in": 0}, "/expires_in"),
            ({"command_name": "a", "expires_in": 30 * 86400 + 1}, "/expires_in"),
            ({"command_name": "a", "expires_in": "soon"}, "/expires_in"),
            ({"command_name": "a", "expires_in": None}, "/expires_in"),
            ({"command_name": "a", "status": "executed"}, "/status"),
            ({"command_name": "a", "id": str(uuid4())}, "/id"),
            ([], ""),
            (None, "/command_name"),
        ],
    )
    def test_an_invalid_command_is_422_with_a_pointer(self, device, owner_api, body, pointer):
        assert pointer in error_pointers(owner_api.post(commands_path(device), body))
        assert not Command.objects.exists()

    def test_a_command_that_does_not_match_the_catalogue_is_422(self, device, owner_api):
        CommandTypeFactory.create(
            device_type=device.device_type,
            command_name="set",
            payload_schema={"properties": {"target": {"maximum": 30}}},
        )
        body = {"command_name": "set", "payload": {"target": 31}}
        assert error_pointers(owner_api.post(commands_path(device), body)) == ["/payload/target"]
        assert error_pointers(owner_api.post(commands_path(device), {"command_name": "x"})) == [
            "/command_name"
        ]
        assert owner_api.post(commands_path(device), {"command_name": "set"}).status_code == 201

    def test_the_fifty_first_pending_command_is_409_queue_full(self, device, owner_api):
        CommandFactory.create_batch(50, device=device)
        response = owner_api.post(commands_path(device), {"command_name": "a"})
        assert response.status_code == 409
        assert response.json()["type"] == "urn:telemetry:problem:queue-full"

    def test_a_device_token_cannot_send_commands(self, device, device_api):
        assert device_api.post(commands_path(device), {"command_name": "a"}).status_code == 403


class TestIdempotencyKey:
    HEADERS = {"Idempotency-Key": "k"}

    def test_the_same_key_returns_the_same_command(self, device, owner_api):
        body = {"command_name": "a", "payload": {"b": 1}}
        first, again = (
            owner_api.post(commands_path(device), body, headers=self.HEADERS) for _ in range(2)
        )  # fmt: skip
        assert (first.status_code, again.status_code) == (201, 201)
        assert first.json() == again.json()
        assert Command.objects.count() == 1

    def test_the_same_key_with_another_body_is_422(self, device, owner_api):
        owner_api.post(commands_path(device), {"command_name": "a"}, headers=self.HEADERS)
        response = owner_api.post(
            commands_path(device), {"command_name": "b"}, headers=self.HEADERS
        )
        assert response.status_code == 422
        assert response.json()["type"] == "urn:telemetry:problem:idempotency-key-reused"

    @pytest.mark.parametrize("key", ["", "x" * 256])
    def test_an_invalid_key_is_400(self, device, owner_api, key):
        response = owner_api.post(
            commands_path(device), {"command_name": "a"}, headers={"Idempotency-Key": key}
        )
        assert response.status_code == 400
        assert not Command.objects.exists()


class TestResending:
    def test_a_finished_command_is_resent(self, device, owner_api):
        old = CommandFactory.create(device=device, created_at=NOW, payload={"a": 1})
        response = owner_api.post(commands_path(device, f"/{old.pk}/retry"))
        assert response.status_code == 201
        shown = response.json()
        assert (shown["status"], shown["payload"]) == ("pending", {"a": 1})
        assert shown["retry_of_id"] == str(old.pk)

    def test_a_command_is_resent_once_with_a_key(self, device, owner_api):
        old = CommandFactory.create(device=device, created_at=NOW)
        for _ in range(2):
            owner_api.post(
                commands_path(device, f"/{old.pk}/retry"), headers={"Idempotency-Key": "k"}
            )
        assert old.retries.count() == 1

    def test_resending_a_pending_command_is_409(self, device, owner_api):
        response = owner_api.post(
            commands_path(device, f"/{CommandFactory.create(device=device).pk}/retry")
        )
        assert response.status_code == 409
        assert response.json()["type"] == "urn:telemetry:problem:still-pending"


class TestCommandTypes:
    def test_the_command_types_of_a_device_are_listed(self, device, owner_api):
        CommandTypeFactory.create(device_type="other")
        CommandTypeFactory.create(
            device_type=device.device_type, command_name="set", title="Set it", confirm=True,
            payload_schema={"properties": {"a": {"type": "integer"}}}, default_expiry=60,
        )  # fmt: skip
        response = owner_api.get(f"/api/v1/devices/{device.pk}/command-types")
        assert response.json()["results"] == [
            {
                "command_name": "set",
                "title": "Set it",
                "payload_schema": {"properties": {"a": {"type": "integer"}}},
                "confirm": True,
                "default_expiry": 60,
            }
        ]


class TestListing:
    def test_commands_are_paginated_with_the_newest_first(self, device, owner_api):
        for number in range(5):
            CommandFactory.create(
                device=device, command_name=f"c{number}",
                created_at=NOW + timedelta(seconds=number // 2),
            )  # fmt: skip
        found, query = [], {"limit": 2}
        while "cursor" not in query or query["cursor"]:
            page = owner_api.get(commands_path(device), query).json()
            found += [one["command_name"] for one in page["results"]]
            query["cursor"] = page["next"]
            assert len(found) <= 5
        assert sorted(found) == ["c0", "c1", "c2", "c3", "c4"]
        assert found[0] == "c4"
        assert set(found[1:3]) == {"c2", "c3"}

    def test_an_overdue_command_is_returned_as_expired(self, device, owner_api):
        command = CommandFactory.create(device=device, created_at=NOW)
        for shown in (
            owner_api.get(commands_path(device)).json()["results"][0],
            owner_api.get(commands_path(device, f"/{command.pk}")).json(),
        ):
            assert (shown["status"], shown["reason"]) == ("failed", "expired")

    def test_a_command_of_another_device_is_404(self, owner, device, owner_api):
        other = CommandFactory.create(device=DeviceFactory.create(user=owner))
        for response in (
            owner_api.get(commands_path(device, f"/{other.pk}")),
            owner_api.patch(commands_path(device, f"/{other.pk}"), {"status": "executed"}),
            owner_api.post(commands_path(device, f"/{other.pk}/cancel")),
        ):
            assert response.status_code == 404
        other.refresh_from_db()
        assert other.status == "pending"

    def test_the_commands_of_another_user_are_404(self, device, stranger_api):
        command = CommandFactory.create(device=device)
        for response in (
            stranger_api.get(commands_path(device)),
            stranger_api.post(commands_path(device), {"command_name": "a"}),
            stranger_api.get(commands_path(device, f"/{command.pk}")),
            stranger_api.patch(commands_path(device, f"/{command.pk}"), {"status": "executed"}),
            stranger_api.post(commands_path(device, f"/{command.pk}/cancel")),
        ):
            assert response.status_code == 404
        assert Command.objects.values_list("status").get() == ("pending",)


class TestCancelling:
    def test_a_pending_command_is_cancelled(self, device, device_api, owner_api):
        command = CommandFactory.create(device=device)
        response = owner_api.post(commands_path(device, f"/{command.pk}/cancel"))
        assert (response.status_code, response.json()["reason"]) == (200, "cancelled")
        assert device_api.get(CLAIM).status_code == 204

    def test_cancelling_an_executed_command_is_409(self, device, device_api, owner_api):
        command = CommandFactory.create(device=device)
        device_api.patch(f"{CLAIM}/{command.pk}", {"status": "executed"})
        response = owner_api.post(commands_path(device, f"/{command.pk}/cancel"))
        assert response.status_code == 409
        assert response.json()["type"] == "urn:telemetry:problem:already-finished"

    def test_a_device_token_cannot_cancel(self, device, device_api):
        command = CommandFactory.create(device=device)
        assert device_api.post(commands_path(device, f"/{command.pk}/cancel")).status_code == 403
