"""Commands over the API for devices: fetched and answered."""

from datetime import UTC, datetime, timedelta

import pytest

from devices.models import Device
from tests.commands.paths import CLAIM, of
from tests.conftest import Api
from tests.factories import NOW, CommandFactory, DeviceFactory, device_token
from tests.problems import pointers


class TestClaiming:
    def test_nothing_waiting_is_204_without_a_body(self, device_api):
        answer = device_api.get(CLAIM)
        assert (answer.status_code, answer.content) == (204, b"")

    def test_a_claim_hands_out_the_oldest_first_and_only_once(self, device, device_api):
        moment = datetime.now(UTC) - timedelta(minutes=1)
        for number in (2, 0, 1):
            CommandFactory.create(
                device=device, command_name=f"c{number}",
                created_at=moment + timedelta(seconds=number),
            )  # fmt: skip
        answer = device_api.get(CLAIM)
        assert answer.status_code == 200
        results = answer.json()["results"]
        assert [one["command_name"] for one in results] == ["c0", "c1", "c2"]
        assert {(one["status"], one["attempts"]) for one in results} == {("pending", 1)}
        assert device_api.get(CLAIM).status_code == 204

    def test_what_has_expired_is_not_handed_out(self, device, device_api):
        CommandFactory.create(device=device, created_at=NOW)
        assert device_api.get(CLAIM).status_code == 204

    def test_asking_is_contact(self, device, device_api):
        device_api.get(CLAIM)
        device.refresh_from_db()
        assert device.status == "online"

    def test_a_user_cannot_claim(self, owner_api):
        assert owner_api.get(CLAIM).status_code == 403

    def test_polling_takes_four_queries(self, device, device_api, django_assert_num_queries):
        device_api.get(CLAIM)
        # The token, the contact, what waits, and (not knowing of any) no more but to take nothing.
        with django_assert_num_queries(3 + 2):
            device_api.get(CLAIM)


@pytest.fixture(params=["/api/v1/device/commands/{1}", "/api/v1/devices/{0}/commands/{1}"])
def path(request, device):
    return lambda command: request.param.format(device.pk, command.pk)


class TestAnswering:
    def test_an_executed_command_is_shown_with_its_result(self, device, device_api, path):
        command = CommandFactory.create(device=device)
        body = {
            "status": "executed",
            "result": {"a": 1},
            "executed_at": "2025-06-15T14:00:00+02:00",
        }
        answer = device_api.patch(path(command), body)
        assert answer.status_code == 200
        assert answer.json()["result"] == {"a": 1}
        assert answer.json()["executed_at"] == "2025-06-15T12:00:00.000000Z"
        assert answer.json()["status"] == "executed"

    def test_a_failed_command_says_why(self, device, device_api, path):
        command = CommandFactory.create(device=device)
        answer = device_api.patch(path(command), {"status": "failed", "reason": "rejected"})
        assert (answer.json()["status"], answer.json()["reason"]) == ("failed", "rejected")

    def test_the_same_answer_again_is_200_and_another_409(self, device, device_api, path):
        command = CommandFactory.create(device=device)
        body = {"status": "executed", "result": {"a": 1}}
        assert device_api.patch(path(command), body).status_code == 200
        assert device_api.patch(path(command), body).status_code == 200
        for other in ({"status": "failed"}, {"status": "executed", "result": {"a": 2}}):
            answer = device_api.patch(path(command), other)
            assert answer.status_code == 409
            assert answer.json()["type"] == "urn:telemetry:problem:already-finished"

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
    def test_a_bad_answer_is_422_and_the_command_still_waits(
        self, device, device_api, path, body, pointer
    ):
        command = CommandFactory.create(device=device)
        assert pointer in pointers(device_api.patch(path(command), body))
        command.refresh_from_db()
        assert command.status == "pending"

    @pytest.mark.parametrize("executed_at", ["1999-12-31T23:59:59Z", "9999-12-31T23:59:59.999999Z"])
    def test_a_time_that_cannot_be_is_422(self, device, device_api, path, executed_at):
        command = CommandFactory.create(device=device)
        body = {"status": "executed", "executed_at": executed_at}
        assert pointers(device_api.patch(path(command), body)) == ["/executed_at"]

    def test_a_device_answers_no_command_of_another(self, owner, device, path):
        command = CommandFactory.create(device=device)
        another = Api(device_token(DeviceFactory.create(user=owner)))
        assert another.patch(path(command), {"status": "executed"}).status_code == 404
        assert another.get(of(device, f"/{command.pk}")).status_code == 404
        assert another.get(CLAIM).status_code == 204
        command.refresh_from_db()
        assert command.status == "pending"

    def test_a_device_may_look_at_its_command(self, device, device_api):
        command = CommandFactory.create(device=device)
        assert device_api.get(of(device, f"/{command.pk}")).json()["id"] == str(command.pk)

    def test_a_late_answer_replaces_the_expiry_and_is_marked(
        self, device, device_api, owner_api, path
    ):
        command = CommandFactory.create(
            device=device, created_at=NOW, status="failed", reason="expired"
        )
        answer = device_api.patch(path(command), {"status": "executed"})
        assert (answer.json()["status"], answer.json()["reason"]) == ("executed", "")
        assert answer.json()["late"] is True
        assert owner_api.get(of(device, f"/{command.pk}")).json()["late"] is True

    def test_answering_is_contact(self, device, device_api, path):
        device_api.patch(path(CommandFactory.create(device=device)), {"status": "executed"})
        device.refresh_from_db()
        assert device.status == "online"

    def test_the_owners_answer_is_no_contact(self, device, owner_api):
        command = CommandFactory.create(device=device)
        assert (
            owner_api.patch(of(device, f"/{command.pk}"), {"status": "failed"}).status_code == 200
        )
        device.refresh_from_db()
        assert device.status == "offline"

    def test_nobody_answers_without_a_token(self, device, anonymous_api, path):
        answer = anonymous_api.patch(
            path(CommandFactory.create(device=device)), {"status": "failed"}
        )
        assert answer.status_code == 401


def test_only_what_failed_has_a_reason(device_api: Api, device: Device) -> None:
    command = CommandFactory.create(device=device)
    answer = device_api.patch(
        f"/api/v1/device/commands/{command.pk}", {"status": "executed", "reason": "device"}
    )
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/reason"


def test_looking_at_the_head_of_the_queue_claims_nothing(device_api: Api, device: Device) -> None:
    command = CommandFactory.create(device=device)
    assert device_api.send("HEAD", "/api/v1/device/commands").status_code == 405
    command.refresh_from_db()
    assert command.attempts == 0


@pytest.mark.parametrize("wait", ["", "null", "-1", "31", "1e1", "\u0663"])
def test_a_wait_that_is_none_is_422_though_nobody_waits_here(device_api, wait):
    answer = device_api.get("/api/v1/device/commands", {"wait": wait})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/wait"


def test_a_wait_may_be_as_fine_as_programs_write_it(device_api):
    answer = device_api.get("/api/v1/device/commands", {"wait": "24.058120376201316"})
    assert answer.status_code == 204
