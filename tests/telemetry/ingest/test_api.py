"""Readings sent over the API, one and many, by every way in."""

import gzip
import json
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from common import timestamps
from common.api.content_encoding import zstd
from telemetry.ingest import idempotency
from telemetry.models import Telemetry
from tests.concurrency import at_once
from tests.conftest import Api
from tests.factories import NOW, CommandFactory, DeviceFactory, device_token, store_reading
from tests.problems import told
from tests.telemetry.sending import OWN, READING, of, one_more

# Every way in: who sends, to which path. What is refused there is in test_bad_input.py.

SENDERS = {
    "device, own path": ("device", "/api/v1/device/telemetry"),
    "device, full path": ("device", "/api/v1/devices/{}/telemetry"),
    "owner": ("owner", "/api/v1/devices/{}/telemetry"),
}
LINES = "application/x-ndjson"


@pytest.fixture(params=SENDERS)
def send(request, device, device_api, owner_api):
    """Sends bytes through one of the ways in, and sees to it that nothing is stored of them."""
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
def test_json_in_utf_8_is_read_however_it_is_announced(send, content_type):
    assert send(json.dumps(READING).encode(), content_type=content_type).status_code == 201


def test_a_body_over_the_limit_is_413_with_the_limit(send):
    filled = json.dumps(READING).encode().ljust(1024 * 1024)
    assert "1048576" in told(send(filled + b" "), 413)["detail"]
    assert send(filled).status_code == 201


def test_more_readings_than_one_request_may_bring_are_413(send, settings):
    settings.READINGS_PER_REQUEST = 3
    refused = told(send([one_more(number) for number in range(4)]), 413)
    assert refused["type"] == "urn:telemetry:problem:too-many-readings"
    assert send({"readings": [one_more(number) for number in range(3)]}).status_code == 201


@pytest.mark.parametrize("path", [OWN, "/api/v1/devices/{}/telemetry"])
def test_nobody_may_send(device, anonymous_api, path):
    answer = anonymous_api.post(path.format(device.pk), READING)
    told(answer, 401)
    assert answer["WWW-Authenticate"] == "Bearer"
    assert not Telemetry.objects.exists()


def test_a_stranger_or_another_device_finds_no_such_device(device, stranger_api):
    another = Api(device_token(DeviceFactory.create(user=device.user)))
    for api in (stranger_api, another):
        told(api.post(of(device), READING), 404)
        told(api.get(of(device)), 404)
    assert not Telemetry.objects.exists()


def test_a_user_has_no_readings_of_their_own(owner_api):
    told(owner_api.post(OWN, READING), 403)


@pytest.mark.parametrize("deflate", [gzip.compress, zstd.compress])
class TestDeflated:
    def encoding(self, deflate):
        return {"Content-Encoding": "gzip" if deflate is gzip.compress else "zstd"}

    @pytest.mark.parametrize("content_type", ["application/json", LINES])
    def test_a_deflated_body_is_read(self, send, deflate, content_type):
        body = deflate(json.dumps(READING).encode())
        answer = send(body, content_type=content_type, headers=self.encoding(deflate))
        assert answer.status_code == 201

    def test_a_bomb_is_413_with_the_limit(self, send, deflate):
        answer = send(deflate(bytes(6 * 1024 * 1024)), headers=self.encoding(deflate))
        assert str(5 * 1024 * 1024) in told(answer, 413)["detail"]

    def test_a_damaged_body_is_400(self, send, deflate):
        body = deflate(json.dumps(READING).encode())[:-2]
        told(send(body, headers=self.encoding(deflate)), 400)


def test_an_encoding_that_is_not_read_is_415(send):
    answer = send(json.dumps(READING).encode(), headers={"Content-Encoding": "br"})
    assert "gzip" in told(answer, 415)["detail"]


class TestIdempotencyKey:
    TIMELESS = {"telemetry_type": "a", "payload": {"a": 1}}

    def post(self, api, body, key="k-1", **how):
        return api.post(OWN, body, headers={"Idempotency-Key": key}, **how)

    def test_a_reading_without_a_time_is_then_stored_once(self, device_api):
        first, again = (self.post(device_api, self.TIMELESS) for _ in range(2))
        assert (first.status_code, again.status_code) == (201, 200)
        assert first.json() == again.json()
        assert self.post(device_api, self.TIMELESS, key="k-2").status_code == 201
        assert Telemetry.objects.count() == 2

    def test_so_is_a_batch(self, device_api):
        batch = [self.TIMELESS, {**self.TIMELESS, "payload": {"a": 2}}, READING]
        counts = [self.post(device_api, batch).json() for _ in range(2)]
        assert [(one["accepted"], one["duplicates"]) for one in counts] == [(3, 0), (0, 3)]

    def test_with_another_body_it_is_refused_and_nothing_stored(self, device_api):
        self.post(device_api, self.TIMELESS)
        refused = told(self.post(device_api, {**self.TIMELESS, "payload": {"a": 2}}), 422)
        assert refused["type"] == "urn:telemetry:problem:idempotency-key-reused"
        assert Telemetry.objects.count() == 1

    def test_each_device_has_its_own(self, device_api):
        other = Api(device_token(DeviceFactory.create()))
        assert self.post(device_api, self.TIMELESS).status_code == 201
        assert self.post(other, {**self.TIMELESS, "payload": {"b": 1}}).status_code == 201

    @pytest.mark.parametrize("key", ["", "x" * 256, "ä", "a\tb"])
    def test_a_bad_one_is_400(self, device_api, key):
        told(self.post(device_api, self.TIMELESS, key=key), 400)
        assert not Telemetry.objects.exists()

    def test_it_is_forgotten_after_two_days(self, device, device_api):
        self.post(device_api, self.TIMELESS)
        assert idempotency.delete_expired(timezone.now() + timedelta(days=1)) == 0
        assert idempotency.delete_expired(timezone.now() + timedelta(days=3)) == 1


@pytest.mark.django_db(transaction=True)
def test_the_same_key_from_twenty_connections_at_once_stores_one_reading():
    token = device_token(DeviceFactory.create())
    body = {"telemetry_type": "a", "payload": {"a": 1}}

    def post():
        return Api(token).post(OWN, body, headers={"Idempotency-Key": "k"}).json()["id"]

    assert len(set(at_once(*[post] * 20))) == 1
    assert Telemetry.objects.count() == 1


class TestOne:
    def test_a_new_reading_is_201_and_shown_as_it_was_stored(self, device, device_api):
        answer = device_api.post(OWN, READING)
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

    def test_the_same_again_is_200_with_the_same_answer(self, device_api):
        first, second = (device_api.post(OWN, READING) for _ in range(2))
        assert (first.status_code, second.status_code) == (201, 200)
        assert first.json() == second.json()
        assert Telemetry.objects.count() == 1

    def test_the_same_in_other_words_is_the_same(self, device_api):
        device_api.post(OWN, {**READING, "payload": {"a": 1, "b": 2.0}})
        again = b'{"recorded_at":"2025-06-15T13:00:00.000+02:00","payload":{"b":2,"a":1.0}'
        answer = device_api.post(OWN, again + b',"telemetry_type":"environment"}')
        assert answer.status_code == 200

    def test_without_a_time_the_servers_is_taken(self, device_api):
        before = datetime.now(UTC)
        sent = {"telemetry_type": "a", "payload": {"a": 1}}
        recorded_at = timestamps.parse(device_api.post(OWN, sent).json()["recorded_at"])
        assert before <= recorded_at <= datetime.now(UTC)

    def test_nanoseconds_are_kept_to_the_microsecond(self, device_api):
        sent = {**READING, "recorded_at": "2025-06-15T11:00:00.123456789Z"}
        shown = device_api.post(OWN, sent).json()["recorded_at"]
        assert shown == "2025-06-15T11:00:00.123456Z"

    def test_a_leap_second_is_the_second_after_it(self, device_api):
        sent = {**READING, "recorded_at": "2016-12-31T23:59:60Z"}
        assert device_api.post(OWN, sent).json()["recorded_at"] == "2017-01-01T00:00:00.000000Z"

    def test_it_is_found_under_its_id(self, device, device_api, owner_api):
        shown = device_api.post(OWN, READING).json()
        del shown["pending_commands"]
        assert owner_api.get(of(device, f"/{shown['id']}")).json() == shown

    def test_the_device_is_then_online(self, device, device_api, owner_api):
        device_api.post(OWN, READING)
        assert owner_api.get(f"/api/v1/devices/{device.pk}").json()["status"] == "online"

    @pytest.mark.parametrize("body", [{"payload": 1}, [{"payload": 1}]])
    def test_even_one_that_only_sends_nonsense_is_online(self, device, device_api, owner_api, body):
        assert device_api.post(OWN, body).status_code == 422
        assert owner_api.get(f"/api/v1/devices/{device.pk}").json()["status"] == "online"

    def test_a_name_that_would_be_markup_is_data(self, device, device_api):
        hostile = {"<script>": "</script><img src=x onerror=alert(1)>", "=1+1": "@x"}
        assert device_api.post(OWN, {**READING, "payload": hostile}).json()["payload"] == hostile

    @pytest.mark.usefixtures("commits_count")
    def test_sending_takes_one_query(self, device_api, django_assert_num_queries):
        device_api.post(OWN, READING)
        # In its savepoint here.
        with django_assert_num_queries(1 + 2):
            assert device_api.post(OWN, one_more(1)).status_code == 201

    @pytest.mark.usefixtures("commits_count")
    def test_a_users_sending_takes_few_queries(self, device, owner_api, django_assert_num_queries):
        owner_api.post(of(device), READING)
        # The token; the device; the insert with all that belongs to it, in its savepoint here.
        with django_assert_num_queries(3 + 2):
            owner_api.post(of(device), one_more(1))


class TestMany:
    @pytest.mark.parametrize("wrap", [list, lambda sent: {"readings": sent}])
    def test_the_valid_part_is_stored_and_each_item_answered_for(
        self, device, device_api, owner_api, wrap
    ):
        device_api.post(OWN, READING)
        bad = {**one_more(3), "payload": {"a": "\0", "b": 2**60}}
        answer = device_api.post(
            OWN, wrap([READING, one_more(1), bad, one_more(1), 5, one_more(2)])
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

    def test_a_whole_log_sent_again_changes_nothing(self, device_api):
        log = [one_more(number) for number in range(50)]
        assert device_api.post(OWN, log).json()["accepted"] == 50
        told = device_api.post(OWN, log[::-1]).json()
        assert (told["accepted"], told["duplicates"], told["rejected"]) == (0, 50, [])

    def test_none_are_none(self, device_api):
        for nothing in ([], {"readings": []}):
            answer = device_api.post(OWN, nothing)
            assert answer.status_code == 201
            assert answer.json() == {
                "accepted": 0, "duplicates": 0, "rejected": [], "pending_commands": 0,
            }  # fmt: skip

    def test_the_answer_tells_how_many_commands_wait(self, device, device_api):
        CommandFactory.create_batch(2, device=device)
        CommandFactory.create(device=device, status="failed", reason="device")
        CommandFactory.create(device=device, created_at=NOW)
        CommandFactory.create(device=DeviceFactory.create())
        assert device_api.post(OWN, READING).json()["pending_commands"] == 2
        assert device_api.post(OWN, READING).json()["pending_commands"] == 2
        assert device_api.post(OWN, [READING]).json()["pending_commands"] == 2

    @pytest.mark.parametrize("count", [1, 100])
    @pytest.mark.usefixtures("commits_count")
    def test_sending_takes_one_query_however_many(
        self, device_api, django_assert_num_queries, count
    ):
        device_api.post(OWN, READING)
        # The insert with all that belongs to it, the token's life too, in its savepoint here.
        with django_assert_num_queries(1 + 2):
            device_api.post(OWN, [one_more(number) for number in range(count)])

    @pytest.mark.usefixtures("commits_count")
    def test_with_a_key_of_its_own_a_request_takes_four_queries(
        self, device_api, django_assert_num_queries
    ):
        device_api.post(OWN, READING)
        batch = [one_more(number) for number in range(3)]
        device_api.post(OWN, batch, headers={"Idempotency-Key": "k"})
        # The token; how many keys came; what came with this one; the insert. Both writes are in a
        # savepoint here.
        with django_assert_num_queries(4 + 2 * 2):
            device_api.post(OWN, batch, headers={"Idempotency-Key": "k"})
