"""API for devices: claim commands and send results."""

from datetime import UTC, datetime, timedelta

import pytest

from devices.models import Device
from tests.commands.paths import CLAIM, commands_path
from tests.conftest import Api
from tests.factories import NOW, CommandFactory, DeviceFactory, device_token
from tests.problems import error_pointers


class TestClaiming:
    def test_a_claim_without_pending_commands_is_204_without_a_body(self, device_api):
        response = device_api.get(CLAIM)
        assert (response.status_code, response.content) == (204, b"")

    def test_a_claim_returns_the_oldest_first_and_each_only_once(self, device, device_api):
        start = datetime.now(UTC) - timedelta(minutes=1)
        for number in (2, 0, 1):
            CommandFactory.create(
                device=device, command_name=f"c{number}",
                created_at=start + timedelta(seconds=number),
            )  # fmt: skip
        response = device_api.get(CLAIM)
        assert response.status_code == 200
        results = response.json()["results"]
        assert [one["command_name"] for one in results] == ["c0", "c1", "c2"]
        assert {(one["status"], one["attempts"]) for one in results} == {("pending", 1)}
        assert device_api.get(CLAIM).status_code == 204

    def test_an_expired_command_is_not_returned(self, device, device_api):
        CommandFactory.create(device=device, created_at=NOW)
        assert device_api.get(CLAIM).status_code == 204

    def test_a_claim_marks_the_device_as_online(self, device, device_api):
        device_api.get(CLAIM)
        device.refresh_from_db()
        assert device.status == "online"

    def test_a_user_token_cannot_claim(self, owner_api):
        assert owner_api.get(CLAIM).status_code == 403

    def test_polling_takes_four_queries(self, device, device_api, django_assert_num_queries):
        device_api.get(CLAIM)
        # The token, the last contact, the pending commands, and two for the savepoint.
        with django_assert_num_queries(3 + 2):
            device_api.get(CLAIM)


@pytest.fixture(params=["/api/v1/device/commands/{1}", "/api/v1/devices/{0}/commands/{1}"])
def path(request, device):
    return lambda command: request.param.format(device.pk, command.pk)


class TestResults:
    def test_an_executed_command_is_returned_with_its_result(self, device, device_api, path):
        command = CommandFactory.create(device=device)
        body = {
            "status": "executed",
            "result": {"a": 1},
            "executed_at": "2025-06-15T14:00:00+02:00",
        }
        response = device_api.patch(path(command), body)
        assert response.status_code == 200
        assert response.json()["result"] == {"a": 1}
        assert response.json()["executed_at"] == "2025-06-15T12:00:00.000000Z"
        assert response.json()["status"] == "executed"

    def test_a_failed_command_is_returned_with_its_reason(self, device, device_api, path):
        command = CommandFactory.create(device=device)
        response = device_api.patch(path(command), {"status": "failed", "reason": "rejected"})
        assert (response.json()["status"], response.json()["reason"]) == ("failed", "rejected")

    def test_the_same_result_again_is_200_and_a_different_one_is_409(
        self, device, device_api, path
    ):
        command = CommandFactory.create(device=device)
        body = {"status": "executed", "result": {"a": 1}}
        assert device_api.patch(path(command), body).status_code == 200
        assert device_api.patch(path(command), body).status_code == 200
        for other in ({"status": "failed"}, {"status": "executed", "result": {"a": 2}}):
            response = device_api.patch(path(command), other)
            assert response.status_code == 409
            assert response.json()["type"] == "urn:telemetry:problem:already-finished"

    @pytest.mark.parametrize(
        ("body", "pointer"),
        [
            ({}, "/status"),
            ({"status": "pending"}, "/status"),
            ({"status": "done"}, "/status"),
            ({"status": None}, "/status"),
            ({"status": ["executed"]}, "/status"),
            ({"status": "executed", "result": []}, "/result"),
            ({"status": "executed", "result": "ok"}, "/result"),
            ({"status": "executed", "result": {"a": "\0"}}, "/result/a"),
            ({"status": "executed", "result": {"a": "x" * 17_000}}, "/result"),
            ({"status": "executed", "executed_at": "2025-06-15"}, "/executed_at"),
            ({"status": "executed", "executed_at": 1}, "/executed_at"),
            ({"status": "executed", "executed_at": "9999-12-31T23:59:60Z"}, "/executed_at"),
            ({"status": "failed", "reason": "expired"}, "/reason"),
            ({"status": "failed", "reason": "cancelled"}, "/reason"),
            ({"status": "executed", "attempts": 0}, "/attempts"),
            ([], ""),
            (None, "/status"),
        ],
    )
    def test_an_invalid_result_is_422_and_the_command_stays_pending(
        self, device, device_api, path, body, pointer
    ):
        command = CommandFactory.create(device=device)
        assert pointer in error_pointers(device_api.patch(path(command), body))
        command.refresh_from_db()
        assert command.status == "pending"

    @pytest.mark.parametrize("executed_at", ["1999-12-31T23:59:59Z", "9999-12-31T23:59:59.999999Z"])
    def test_an_executed_at_out_of_range_is_422(self, device, device_api, path, executed_at):
        command = CommandFactory.create(device=device)
        body = {"status": "executed", "executed_at": executed_at}
        assert error_pointers(device_api.patch(path(command), body)) == ["/executed_at"]

    def test_a_command_of_another_device_is_404(self, owner, device, path):
        command = CommandFactory.create(device=device)
        another = Api(device_token(DeviceFactory.create(user=owner)))
        assert another.patch(path(command), {"status": "executed"}).status_code == 404
        assert another.get(commands_path(device, f"/{command.pk}")).status_code == 404
        assert another.get(CLAIM).status_code == 204
        command.refresh_from_db()
        assert command.status == "pending"

    def test_a_device_reads_its_command(self, device, device_api):
        command = CommandFactory.create(device=device)
        assert device_api.get(commands_path(device, f"/{command.pk}")).json()["id"] == str(
            command.pk
        )

    def test_a_late_result_replaces_the_expiry_and_is_marked_as_late(
        self, device, device_api, owner_api, path
    ):
        command = CommandFactory.create(
            device=device, created_at=NOW, status="failed", reason="expired"
        )
        response = device_api.patch(path(command), {"status": "executed"})
        assert (response.json()["status"], response.json()["reason"]) == ("executed", "")
        assert response.json()["late"] is True
        assert owner_api.get(commands_path(device, f"/{command.pk}")).json()["late"] is True

    def test_a_result_marks_the_device_as_online(self, device, device_api, path):
        device_api.patch(path(CommandFactory.create(device=device)), {"status": "executed"})
        device.refresh_from_db()
        assert device.status == "online"

    def test_a_result_sent_by_the_owner_does_not_mark_the_device_as_online(self, device, owner_api):
        command = CommandFactory.create(device=device)
        assert (
            owner_api.patch(
                commands_path(device, f"/{command.pk}"), {"status": "failed"}
            ).status_code
            == 200
        )
        device.refresh_from_db()
        assert device.status == "offline"

    def test_a_result_without_a_token_is_401(self, device, anonymous_api, path):
        response = anonymous_api.patch(
            path(CommandFactory.create(device=device)), {"status": "failed"}
        )
        assert response.status_code == 401


def test_a_reason_for_an_executed_command_is_422(device_api: Api, device: Device) -> None:
    command = CommandFactory.create(device=device)
    response = device_api.patch(
        f"/api/v1/device/commands/{command.pk}", {"status": "executed", "reason": "device"}
    )
    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == "/reason"


def test_a_head_request_is_405_and_claims_nothing(device_api: Api, device: Device) -> None:
    command = CommandFactory.create(device=device)
    assert device_api.send("HEAD", "/api/v1/device/commands").status_code == 405
    command.refresh_from_db()
    assert command.attempts == 0


@pytest.mark.parametrize("wait", ["", "null", "-1", "31", "1e1", "\u0663"])
def test_an_invalid_wait_is_422_on_the_main_port(device_api, wait):
    response = device_api.get("/api/v1/device/commands", {"wait": wait})
    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == "/wait"


def test_a_wait_with_many_decimals_is_accepted(device_api):
    response = device_api.get("/api/v1/device/commands", {"wait": "24.058120376201316"})
    assert response.status_code == 204
