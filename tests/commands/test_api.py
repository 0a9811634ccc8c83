from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from commands.models import Command
from devices import times
from devices.models import Device
from tests.conftest import Api
from tests.factories import (
    NOW,
    CommandFactory,
    CommandTypeFactory,
    DeviceFactory,
    device_token,
)

CLAIM = "/api/v1/device/commands"


def of(device, rest=""):
    return f"/api/v1/devices/{device.pk}/commands{rest}"


def pointers(answer):
    assert answer.status_code == 422, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    return [fault["pointer"] for fault in answer.json()["errors"]]


class TestIssuing:
    def test_a_new_command_is_201_and_pending(self, owner, device, owner_api):
        before = datetime.now(UTC)
        answer = owner_api.post(of(device), {"command_name": "set", "payload": {"target": 20}})
        assert answer.status_code == 201
        shown = answer.json()
        assert set(shown) == {
            "id", "device_id", "command_name", "payload", "status", "reason", "result", "attempts",
            "created_at", "delivered_at", "expires_at", "executed_at", "finished_at", "late",
            "retry_of_id", "batch_id",
        }  # fmt: skip
        assert (shown["status"], shown["payload"]) == ("pending", {"target": 20})
        life = times.parse(shown["expires_at"]) - times.parse(shown["created_at"])
        assert life == timedelta(hours=1)
        assert times.parse(shown["created_at"]) >= before
        assert Command.objects.get().issued_by == owner

    def test_how_long_it_lives_can_be_said(self, device, owner_api):
        shown = owner_api.post(of(device), {"command_name": "a", "expires_in": 5}).json()
        life = times.parse(shown["expires_at"]) - times.parse(shown["created_at"])
        assert life == timedelta(seconds=5)

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
    def test_a_bad_command_is_422_with_a_pointer(self, device, owner_api, body, pointer):
        assert pointer in pointers(owner_api.post(of(device), body))
        assert not Command.objects.exists()

    def test_a_command_that_does_not_fit_the_catalogue_is_422(self, device, owner_api):
        CommandTypeFactory.create(
            device_type=device.device_type,
            command_name="set",
            payload_schema={"properties": {"target": {"maximum": 30}}},
        )
        body = {"command_name": "set", "payload": {"target": 31}}
        assert pointers(owner_api.post(of(device), body)) == ["/payload/target"]
        assert pointers(owner_api.post(of(device), {"command_name": "x"})) == ["/command_name"]
        assert owner_api.post(of(device), {"command_name": "set"}).status_code == 201

    def test_the_fifty_first_is_409_queue_full(self, device, owner_api):
        CommandFactory.create_batch(50, device=device)
        answer = owner_api.post(of(device), {"command_name": "a"})
        assert answer.status_code == 409
        assert answer.json()["type"] == "urn:telemetry:problem:queue-full"

    def test_a_device_gives_itself_no_commands(self, device, device_api):
        assert device_api.post(of(device), {"command_name": "a"}).status_code == 403


class TestIdempotencyKey:
    HEADERS = {"Idempotency-Key": "k"}

    def test_sent_again_it_is_the_same_command(self, device, owner_api):
        body = {"command_name": "a", "payload": {"b": 1}}
        first, again = (
            owner_api.post(of(device), body, headers=self.HEADERS) for _ in range(2)
        )  # fmt: skip
        assert (first.status_code, again.status_code) == (201, 201)
        assert first.json() == again.json()
        assert Command.objects.count() == 1

    def test_with_another_body_it_is_422(self, device, owner_api):
        owner_api.post(of(device), {"command_name": "a"}, headers=self.HEADERS)
        answer = owner_api.post(of(device), {"command_name": "b"}, headers=self.HEADERS)
        assert answer.status_code == 422
        assert answer.json()["type"] == "urn:telemetry:problem:idempotency-key-reused"

    @pytest.mark.parametrize("key", ["", "x" * 256])
    def test_one_that_cannot_be_is_400(self, device, owner_api, key):
        answer = owner_api.post(of(device), {"command_name": "a"}, headers={"Idempotency-Key": key})
        assert answer.status_code == 400
        assert not Command.objects.exists()


class TestSendingAgain:
    def test_what_has_ended_is_sent_again(self, device, owner_api):
        old = CommandFactory.create(device=device, created_at=NOW, payload={"a": 1})
        answer = owner_api.post(of(device, f"/{old.pk}/retry"))
        assert answer.status_code == 201
        shown = answer.json()
        assert (shown["status"], shown["payload"]) == ("pending", {"a": 1})
        assert shown["retry_of_id"] == str(old.pk)

    def test_with_a_key_it_is_sent_again_once(self, device, owner_api):
        old = CommandFactory.create(device=device, created_at=NOW)
        for _ in range(2):
            owner_api.post(of(device, f"/{old.pk}/retry"), headers={"Idempotency-Key": "k"})
        assert old.retries.count() == 1

    def test_what_has_not_ended_is_409(self, device, owner_api):
        answer = owner_api.post(of(device, f"/{CommandFactory.create(device=device).pk}/retry"))
        assert answer.status_code == 409
        assert answer.json()["type"] == "urn:telemetry:problem:still-pending"


class TestCommandTypes:
    def test_what_a_device_can_be_asked_is_listed(self, device, owner_api):
        CommandTypeFactory.create(device_type="other")
        CommandTypeFactory.create(
            device_type=device.device_type, command_name="set", title="Set it", confirm=True,
            payload_schema={"properties": {"a": {"type": "integer"}}}, default_expiry=60,
        )  # fmt: skip
        answer = owner_api.get(f"/api/v1/devices/{device.pk}/command-types")
        assert answer.json()["results"] == [
            {
                "command_name": "set",
                "title": "Set it",
                "payload_schema": {"properties": {"a": {"type": "integer"}}},
                "confirm": True,
                "default_expiry": 60,
            }
        ]


class TestLooking:
    def test_commands_come_newest_first_in_pages(self, device, owner_api):
        for number in range(5):
            CommandFactory.create(
                device=device, command_name=f"c{number}",
                created_at=NOW + timedelta(seconds=number // 2),
            )  # fmt: skip
        found, query = [], {"limit": 2}
        while "cursor" not in query or query["cursor"]:
            page = owner_api.get(of(device), query).json()
            found += [one["command_name"] for one in page["results"]]
            query["cursor"] = page["next"]
            assert len(found) <= 5
        assert sorted(found) == ["c0", "c1", "c2", "c3", "c4"]
        assert found[0] == "c4"
        assert set(found[1:3]) == {"c2", "c3"}

    def test_what_is_out_of_time_shows_as_failed(self, device, owner_api):
        command = CommandFactory.create(device=device, created_at=NOW)
        for shown in (
            owner_api.get(of(device)).json()["results"][0],
            owner_api.get(of(device, f"/{command.pk}")).json(),
        ):
            assert (shown["status"], shown["reason"]) == ("failed", "expired")

    def test_a_command_is_found_under_its_own_device_only(self, owner, device, owner_api):
        other = CommandFactory.create(device=DeviceFactory.create(user=owner))
        for answer in (
            owner_api.get(of(device, f"/{other.pk}")),
            owner_api.patch(of(device, f"/{other.pk}"), {"status": "executed"}),
            owner_api.post(of(device, f"/{other.pk}/cancel")),
        ):
            assert answer.status_code == 404
        other.refresh_from_db()
        assert other.status == "pending"

    def test_nobody_finds_the_commands_of_another(self, device, stranger_api):
        command = CommandFactory.create(device=device)
        for answer in (
            stranger_api.get(of(device)),
            stranger_api.post(of(device), {"command_name": "a"}),
            stranger_api.get(of(device, f"/{command.pk}")),
            stranger_api.patch(of(device, f"/{command.pk}"), {"status": "executed"}),
            stranger_api.post(of(device, f"/{command.pk}/cancel")),
        ):
            assert answer.status_code == 404
        assert Command.objects.values_list("status").get() == ("pending",)


class TestCancelling:
    def test_a_pending_command_is_taken_back(self, device, device_api, owner_api):
        command = CommandFactory.create(device=device)
        answer = owner_api.post(of(device, f"/{command.pk}/cancel"))
        assert (answer.status_code, answer.json()["reason"]) == (200, "cancelled")
        assert device_api.get(CLAIM).status_code == 204

    def test_an_executed_one_is_409(self, device, device_api, owner_api):
        command = CommandFactory.create(device=device)
        device_api.patch(f"{CLAIM}/{command.pk}", {"status": "executed"})
        answer = owner_api.post(of(device, f"/{command.pk}/cancel"))
        assert answer.status_code == 409
        assert answer.json()["type"] == "urn:telemetry:problem:already-finished"

    def test_a_device_cannot_cancel(self, device, device_api):
        command = CommandFactory.create(device=device)
        assert device_api.post(of(device, f"/{command.pk}/cancel")).status_code == 403


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
