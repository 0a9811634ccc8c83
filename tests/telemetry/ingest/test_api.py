"""Readings sent over the API, singly and in batches, through every entry point."""

import gzip
import json
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from common import timestamps
from common.api.content_encoding import zstd
from telemetry.ingest import idempotency
from telemetry.models import Telemetry
from tests.concurrency import run_concurrently
from tests.conftest import Api
from tests.factories import NOW, CommandFactory, DeviceFactory, device_token, store_reading
from tests.problems import read_problem
from tests.telemetry.ingest_requests import OWN_PATH, READING, reading_after, telemetry_path

# Every entry point: the sender and the path. Rejected input is in test_bad_input.py.

SENDERS = {
    "device, own path": ("device", "/api/v1/device/telemetry"),
    "device, full path": ("device", "/api/v1/devices/{}/telemetry"),
    "owner": ("owner", "/api/v1/devices/{}/telemetry"),
}
LINES = "application/x-ndjson"


@pytest.fixture(params=SENDERS)
def send(request, device, device_api, owner_api):
    """Send bytes through one entry point; check that a rejected request stores nothing."""
    who, path = SENDERS[request.param]
    api = {"device": device_api, "owner": owner_api}[who]
    api.client.raise_request_exception = False
    store_reading(device)

    def send(body, **how):
        answer = api.post(path.format(device.pk), body, **how)
        assert answer.status_code < 500, answer.content
        if answer.status_code >= 400:
            assert Telemetry.objects.count() == 1
        return answer

    return send


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/json; charset=utf-8", 'Application/JSON;charset="UTF-8"'],
)
def test_json_in_utf_8_is_accepted_with_every_spelling_of_its_content_type(send, content_type):
    assert send(json.dumps(READING).encode(), content_type=content_type).status_code == 201


def test_a_body_over_the_limit_is_413_and_the_response_contains_the_limit(send):
    filled = json.dumps(READING).encode().ljust(1024 * 1024)
    assert "1048576" in read_problem(send(filled + b" "), 413)["detail"]
    assert send(filled).status_code == 201


def test_a_batch_over_the_limit_of_readings_is_413(send, settings):
    settings.READINGS_PER_REQUEST = 3
    refused = read_problem(send([reading_after(number) for number in range(4)]), 413)
    assert refused["type"] == "urn:telemetry:problem:too-many-readings"
    assert send({"readings": [reading_after(number) for number in range(3)]}).status_code == 201


@pytest.mark.parametrize("path", [OWN_PATH, "/api/v1/devices/{}/telemetry"])
def test_without_a_token_sending_is_401(device, anonymous_api, path):
    answer = anonymous_api.post(path.format(device.pk), READING)
    read_problem(answer, 401)
    assert answer["WWW-Authenticate"] == "Bearer"
    assert not Telemetry.objects.exists()


def test_for_another_user_or_device_the_device_is_404(device, stranger_api):
    another = Api(device_token(DeviceFactory.create(user=device.user)))
    for api in (stranger_api, another):
        read_problem(api.post(telemetry_path(device), READING), 404)
        read_problem(api.get(telemetry_path(device)), 404)
    assert not Telemetry.objects.exists()


def test_the_device_path_is_403_for_a_user(owner_api):
    read_problem(owner_api.post(OWN_PATH, READING), 403)


@pytest.mark.parametrize("deflate", [gzip.compress, zstd.compress])
class TestCompressed:
    def encoding(self, deflate):
        return {"Content-Encoding": "gzip" if deflate is gzip.compress else "zstd"}

    @pytest.mark.parametrize("content_type", ["application/json", LINES])
    def test_a_compressed_body_is_accepted(self, send, deflate, content_type):
        body = deflate(json.dumps(READING).encode())
        answer = send(body, content_type=content_type, headers=self.encoding(deflate))
        assert answer.status_code == 201

    def test_a_decompression_bomb_is_413_and_the_response_contains_the_limit(self, send, deflate):
        answer = send(deflate(bytes(6 * 1024 * 1024)), headers=self.encoding(deflate))
        assert str(5 * 1024 * 1024) in read_problem(answer, 413)["detail"]

    def test_a_corrupt_compressed_body_is_400(self, send, deflate):
        body = deflate(json.dumps(READING).encode())[:-2]
        read_problem(send(body, headers=self.encoding(deflate)), 400)


def test_an_unsupported_content_encoding_is_415(send):
    answer = send(json.dumps(READING).encode(), headers={"Content-Encoding": "br"})
    assert "gzip" in read_problem(answer, 415)["detail"]


class TestIdempotencyKey:
    TIMELESS = {"telemetry_type": "a", "payload": {"a": 1}}

    def post(self, api, body, key="k-1", **how):
        return api.post(OWN_PATH, body, headers={"Idempotency-Key": key}, **how)

    def test_a_repeated_reading_without_a_time_is_stored_once_per_key(self, device_api):
        first, again = (self.post(device_api, self.TIMELESS) for _ in range(2))
        assert (first.status_code, again.status_code) == (201, 200)
        assert first.json() == again.json()
        assert self.post(device_api, self.TIMELESS, key="k-2").status_code == 201
        assert Telemetry.objects.count() == 2

    def test_a_repeated_batch_with_the_same_key_is_stored_once(self, device_api):
        batch = [self.TIMELESS, {**self.TIMELESS, "payload": {"a": 2}}, READING]
        counts = [self.post(device_api, batch).json() for _ in range(2)]
        assert [(one["accepted"], one["duplicates"]) for one in counts] == [(3, 0), (0, 3)]

    def test_a_key_reused_with_another_body_is_422_and_stores_nothing(self, device_api):
        self.post(device_api, self.TIMELESS)
        refused = read_problem(self.post(device_api, {**self.TIMELESS, "payload": {"a": 2}}), 422)
        assert refused["type"] == "urn:telemetry:problem:idempotency-key-reused"
        assert Telemetry.objects.count() == 1

    def test_two_devices_may_use_the_same_key(self, device_api):
        other = Api(device_token(DeviceFactory.create()))
        assert self.post(device_api, self.TIMELESS).status_code == 201
        assert self.post(other, {**self.TIMELESS, "payload": {"b": 1}}).status_code == 201

    @pytest.mark.parametrize("key", ["", "x" * 256, "ä", "a\tb"])
    def test_an_invalid_key_is_400(self, device_api, key):
        read_problem(self.post(device_api, self.TIMELESS, key=key), 400)
        assert not Telemetry.objects.exists()

    def test_a_key_expires_after_two_days(self, device, device_api):
        self.post(device_api, self.TIMELESS)
        assert idempotency.delete_expired(timezone.now() + timedelta(days=1)) == 0
        assert idempotency.delete_expired(timezone.now() + timedelta(days=3)) == 1


@pytest.mark.django_db(transaction=True)
def test_the_same_key_in_twenty_concurrent_requests_stores_one_reading():
    token = device_token(DeviceFactory.create())
    body = {"telemetry_type": "a", "payload": {"a": 1}}

    def post():
        return Api(token).post(OWN_PATH, body, headers={"Idempotency-Key": "k"}).json()["id"]

    assert len(set(run_concurrently(*[post] * 20))) == 1
    assert Telemetry.objects.count() == 1


class TestSingleReading:
    def test_a_new_reading_is_201_and_the_response_is_the_stored_row(self, device, device_api):
        answer = device_api.post(OWN_PATH, READING)
        assert answer.status_code == 201
        shown = answer.json()
        row = Telemetry.objects.get()
        assert shown == {
            "id": str(row.pk),
            "device_id": str(device.pk),
            "telemetry_type": "environment",
            "payload": {"temperature": 21.5},
            "recorded_at": "2025-06-15T11:00:00.000000Z",
            "created_at": timestamps.format_timestamp(row.created_at),
            "pending_commands": 0,
        }

    def test_a_repeated_reading_is_200_with_the_same_response(self, device_api):
        first, second = (device_api.post(OWN_PATH, READING) for _ in range(2))
        assert (first.status_code, second.status_code) == (201, 200)
        assert first.json() == second.json()
        assert Telemetry.objects.count() == 1

    def test_a_reading_with_other_key_order_and_number_format_is_a_duplicate(self, device_api):
        device_api.post(OWN_PATH, {**READING, "payload": {"a": 1, "b": 2.0}})
        again = b'{"recorded_at":"2025-06-15T13:00:00.000+02:00","payload":{"b":2,"a":1.0}'
        answer = device_api.post(OWN_PATH, again + b',"telemetry_type":"environment"}')
        assert answer.status_code == 200

    def test_a_reading_without_a_time_gets_the_time_of_the_server(self, device_api):
        before = datetime.now(UTC)
        sent = {"telemetry_type": "a", "payload": {"a": 1}}
        recorded_at = timestamps.parse(device_api.post(OWN_PATH, sent).json()["recorded_at"])
        assert before <= recorded_at <= datetime.now(UTC)

    def test_nanoseconds_are_truncated_to_microseconds(self, device_api):
        sent = {**READING, "recorded_at": "2025-06-15T11:00:00.123456789Z"}
        shown = device_api.post(OWN_PATH, sent).json()["recorded_at"]
        assert shown == "2025-06-15T11:00:00.123456Z"

    def test_a_leap_second_is_stored_as_the_next_second(self, device_api):
        sent = {**READING, "recorded_at": "2016-12-31T23:59:60Z"}
        assert (
            device_api.post(OWN_PATH, sent).json()["recorded_at"] == "2017-01-01T00:00:00.000000Z"
        )

    def test_a_stored_reading_is_found_by_its_id(self, device, device_api, owner_api):
        shown = device_api.post(OWN_PATH, READING).json()
        del shown["pending_commands"]
        assert owner_api.get(telemetry_path(device, f"/{shown['id']}")).json() == shown

    def test_after_a_reading_the_device_is_online(self, device, device_api, owner_api):
        device_api.post(OWN_PATH, READING)
        assert owner_api.get(f"/api/v1/devices/{device.pk}").json()["status"] == "online"

    @pytest.mark.parametrize("body", [{"payload": 1}, [{"payload": 1}]])
    def test_after_a_rejected_reading_the_device_is_online(
        self, device, device_api, owner_api, body
    ):
        assert device_api.post(OWN_PATH, body).status_code == 422
        assert owner_api.get(f"/api/v1/devices/{device.pk}").json()["status"] == "online"

    def test_keys_and_values_with_markup_are_stored_unchanged(self, device, device_api):
        hostile = {"<script>": "</script><img src=x onerror=alert(1)>", "=1+1": "@x"}
        assert (
            device_api.post(OWN_PATH, {**READING, "payload": hostile}).json()["payload"] == hostile
        )

    @pytest.mark.usefixtures("immediate_on_commit")
    def test_a_reading_of_a_device_takes_one_query(self, device_api, django_assert_num_queries):
        device_api.post(OWN_PATH, READING)
        # Two more for the savepoint of the test.
        with django_assert_num_queries(1 + 2):
            assert device_api.post(OWN_PATH, reading_after(1)).status_code == 201

    @pytest.mark.usefixtures("immediate_on_commit")
    def test_a_reading_sent_by_a_user_takes_three_queries(
        self, device, owner_api, django_assert_num_queries
    ):
        owner_api.post(telemetry_path(device), READING)
        # The token; the device; the insert with its related writes. Two more for the savepoint of
        # the test.
        with django_assert_num_queries(3 + 2):
            owner_api.post(telemetry_path(device), reading_after(1))


class TestBatch:
    @pytest.mark.parametrize("wrap", [list, lambda sent: {"readings": sent}])
    def test_valid_readings_are_stored_and_each_invalid_one_is_reported(
        self, device, device_api, owner_api, wrap
    ):
        device_api.post(OWN_PATH, READING)
        bad = {**reading_after(3), "payload": {"a": "\0", "b": 2**60}}
        answer = device_api.post(
            OWN_PATH, wrap([READING, reading_after(1), bad, reading_after(1), 5, reading_after(2)])
        )
        assert answer.status_code == 201
        told = answer.json()
        assert (told["accepted"], told["duplicates"]) == (2, 2)
        at = "" if wrap is list else "/readings"
        assert [(one["index"], one["pointer"], one["code"]) for one in told["rejected"]] == [
            (2, f"{at}/2/payload/a", "nul-character"),
            (2, f"{at}/2/payload/b", "number-too-large"),
            (4, f"{at}/4", "not-an-object"),
        ]
        assert all(one["detail"] for one in told["rejected"])
        assert Telemetry.objects.count() == 3

    def test_a_repeated_batch_stores_nothing(self, device_api):
        log = [reading_after(number) for number in range(50)]
        assert device_api.post(OWN_PATH, log).json()["accepted"] == 50
        told = device_api.post(OWN_PATH, log[::-1]).json()
        assert (told["accepted"], told["duplicates"], told["rejected"]) == (0, 50, [])

    def test_an_empty_batch_is_201_and_stores_nothing(self, device_api):
        for nothing in ([], {"readings": []}):
            answer = device_api.post(OWN_PATH, nothing)
            assert answer.status_code == 201
            assert answer.json() == {
                "accepted": 0, "duplicates": 0, "rejected": [], "pending_commands": 0,
            }  # fmt: skip

    def test_the_response_contains_the_number_of_pending_commands(self, device, device_api):
        CommandFactory.create_batch(2, device=device)
        CommandFactory.create(device=device, status="failed", reason="device")
        CommandFactory.create(device=device, created_at=NOW)
        CommandFactory.create(device=DeviceFactory.create())
        assert device_api.post(OWN_PATH, READING).json()["pending_commands"] == 2
        assert device_api.post(OWN_PATH, READING).json()["pending_commands"] == 2
        assert device_api.post(OWN_PATH, [READING]).json()["pending_commands"] == 2

    @pytest.mark.parametrize("count", [1, 100])
    @pytest.mark.usefixtures("immediate_on_commit")
    def test_a_batch_of_any_size_takes_one_query(
        self, device_api, django_assert_num_queries, count
    ):
        device_api.post(OWN_PATH, READING)
        # The insert with its related writes, including the last use of the token. Two more for the
        # savepoint of the test.
        with django_assert_num_queries(1 + 2):
            device_api.post(OWN_PATH, [reading_after(number) for number in range(count)])

    @pytest.mark.usefixtures("immediate_on_commit")
    def test_a_batch_with_an_idempotency_key_takes_four_queries(
        self, device_api, django_assert_num_queries
    ):
        device_api.post(OWN_PATH, READING)
        batch = [reading_after(number) for number in range(3)]
        device_api.post(OWN_PATH, batch, headers={"Idempotency-Key": "k"})
        # The token; the number of stored keys; the record of this key; the insert. Both writes are
        # in a savepoint of the test.
        with django_assert_num_queries(4 + 2 * 2):
            device_api.post(OWN_PATH, batch, headers={"Idempotency-Key": "k"})
