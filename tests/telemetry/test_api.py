import gzip
import json
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone

from devices import times
from devices.bodies import zstd
from telemetry import deliveries
from telemetry.models import Telemetry
from tests.concurrency import at_once
from tests.conftest import Api
from tests.factories import (
    NOW,
    CommandFactory,
    DeviceFactory,
    device_token,
    store_reading,
    store_readings,
)

OWN = "/api/v1/device/telemetry"
READING = {
    "telemetry_type": "environment",
    "payload": {"temperature": 21.5},
    "recorded_at": "2025-06-15T11:00:00Z",
}


def of(device, rest=""):
    return f"/api/v1/devices/{device.pk}/telemetry{rest}"


def one_more(number):
    return {**READING, "recorded_at": times.show(NOW + timedelta(seconds=number))}


def problem(answer, status):
    assert answer.status_code == status, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    told = answer.json()
    assert told["status"] == status
    assert told["request_id"] == answer["X-Request-Id"]
    return told


def pointers(answer):
    return [fault["pointer"] for fault in problem(answer, 422)["errors"]]


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
    assert "1048576" in problem(send(filled + b" "), 413)["detail"]
    assert send(filled).status_code == 201


def test_more_readings_than_one_request_may_bring_are_413(send, settings):
    settings.READINGS_PER_REQUEST = 3
    told = problem(send([one_more(number) for number in range(4)]), 413)
    assert told["type"] == "urn:telemetry:problem:too-many-readings"
    assert send({"readings": [one_more(number) for number in range(3)]}).status_code == 201


@pytest.mark.parametrize("path", [OWN, "/api/v1/devices/{}/telemetry"])
def test_nobody_may_send(device, anonymous_api, path):
    answer = anonymous_api.post(path.format(device.pk), READING)
    problem(answer, 401)
    assert answer["WWW-Authenticate"] == "Bearer"
    assert not Telemetry.objects.exists()


def test_a_stranger_or_another_device_finds_no_such_device(device, stranger_api):
    another = Api(device_token(DeviceFactory.create(user=device.user)))
    for api in (stranger_api, another):
        problem(api.post(of(device), READING), 404)
        problem(api.get(of(device)), 404)
    assert not Telemetry.objects.exists()


def test_a_user_has_no_readings_of_their_own(owner_api):
    problem(owner_api.post(OWN, READING), 403)


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
        assert str(5 * 1024 * 1024) in problem(answer, 413)["detail"]

    def test_a_damaged_body_is_400(self, send, deflate):
        body = deflate(json.dumps(READING).encode())[:-2]
        problem(send(body, headers=self.encoding(deflate)), 400)


def test_an_encoding_that_is_not_read_is_415(send):
    answer = send(json.dumps(READING).encode(), headers={"Content-Encoding": "br"})
    assert "gzip" in problem(answer, 415)["detail"]


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
        told = problem(self.post(device_api, {**self.TIMELESS, "payload": {"a": 2}}), 422)
        assert told["type"] == "urn:telemetry:problem:idempotency-key-reused"
        assert Telemetry.objects.count() == 1

    def test_each_device_has_its_own(self, device_api):
        other = Api(device_token(DeviceFactory.create()))
        assert self.post(device_api, self.TIMELESS).status_code == 201
        assert self.post(other, {**self.TIMELESS, "payload": {"b": 1}}).status_code == 201

    @pytest.mark.parametrize("key", ["", "x" * 256, "ä", "a\tb"])
    def test_a_bad_one_is_400(self, device_api, key):
        problem(self.post(device_api, self.TIMELESS, key=key), 400)
        assert not Telemetry.objects.exists()

    def test_it_is_forgotten_after_two_days(self, device, device_api):
        self.post(device_api, self.TIMELESS)
        assert deliveries.forget_old(timezone.now() + timedelta(days=1)) == 0
        assert deliveries.forget_old(timezone.now() + timedelta(days=3)) == 1


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
            "created_at": times.show(row.created_at),
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
        recorded_at = times.parse(device_api.post(OWN, sent).json()["recorded_at"])
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
    def test_with_a_key_of_its_own_a_request_takes_three_queries(
        self, device_api, django_assert_num_queries
    ):
        device_api.post(OWN, READING)
        batch = [one_more(number) for number in range(3)]
        device_api.post(OWN, batch, headers={"Idempotency-Key": "k"})
        # The token; what came with the key; the insert in its savepoint here.
        with django_assert_num_queries(3 + 2):
            device_api.post(OWN, batch, headers={"Idempotency-Key": "k"})


class TestReading:
    def test_history_comes_newest_first_in_pages(self, device, owner_api):
        store_readings(device, payloads=[{"n": number} for number in range(5)])
        first = owner_api.get(of(device), {"limit": 3}).json()
        second = owner_api.get(of(device), {"limit": 3, "cursor": first["next"]}).json()
        assert [one["payload"]["n"] for one in first["results"] + second["results"]] == [
            4, 3, 2, 1, 0,
        ]  # fmt: skip
        assert second["next"] is None
        assert set(first["results"][0]) == {
            "id", "device_id", "telemetry_type", "payload", "recorded_at", "created_at",
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ({"order": "asc"}, [0, 1, 2, 3]),
            ({"telemetry_type": "odd"}, [3, 1]),
            ({"telemetry_type": "Odd"}, []),
            ({"from": "2025-06-15T12:00:01Z"}, [3, 2, 1]),
            ({"to": "2025-06-15T12:00:01Z"}, [0]),
            ({"from": "2025-06-15T14:00:01+02:00", "to": "2025-06-15T12:00:03Z"}, [2, 1]),
            ({"from": "2025-06-15T12:00:03Z", "to": "2025-06-15T12:00:01Z"}, []),
            ({"from": "0001-01-01T00:00:00Z", "to": "9999-12-31T23:59:59Z"}, [3, 2, 1, 0]),
        ],
    )
    def test_history_can_be_filtered_and_turned(self, device, owner_api, query, found):
        for number in range(4):
            store_reading(
                device,
                payload={"n": number},
                telemetry_type="odd" if number % 2 else "even",
                recorded_at=NOW + timedelta(seconds=number),
            )
        page = owner_api.get(of(device), query)
        assert [one["payload"]["n"] for one in page.json()["results"]] == found

    @pytest.mark.parametrize(
        ("query", "pointer"),
        [
            ({"payload__a__regex": "("}, "/payload__a__regex"),
            ({"payload__" + "a__" * 300 + "x": "1"}, "/payload__"),
            ({"device__user__password__startswith": "a"}, "/device__user"),
            ({"ordering": "id"}, "/ordering"),
            ({"a\0": "1"}, "/a\\u0000"),
            ({"telemetry_type": "\0"}, "/telemetry_type"),
            ({"telemetry_type": "a'--"}, "/telemetry_type"),
            ({"order": "random()"}, "/order"),
            ({"limit": "0"}, "/limit"),
            ({"limit": "1001"}, "/limit"),
            ({"limit": "x"}, "/limit"),
            ({"limit": "9" * 5000}, "/limit"),
            ({"cursor": "garbage"}, "/cursor"),
            ({"cursor": "\0"}, "/cursor"),
            ({"cursor": "A" * 65}, "/cursor"),
            ({"cursor": "f" * 32}, "/cursor"),
            ({"from": "2025-06-15T12:00:00"}, "/from"),
            ({"from": "yesterday"}, "/from"),
            ({"to": "%00"}, "/to"),
        ],
    )
    def test_a_query_of_any_other_shape_is_422(self, device, owner_api, query, pointer):
        assert pointers(owner_api.get(of(device), query))[0].startswith(pointer)

    @pytest.mark.parametrize(
        "reading_id",
        [
            "00000000-0000-0000-0000-000000000000",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
            "019c13ec-9e7b-855d-a7ed-51af32f2ed25",
            "{019c13ec-9e7b-855d-a7ed-51af32f2ed25}",
            "urn:uuid:019c13ec-9e7b-855d-a7ed-51af32f2ed25",
            "1",
        ],
    )
    def test_a_reading_that_is_not_there_is_404(self, device, owner_api, reading_id):
        problem(owner_api.get(of(device, f"/{reading_id}")), 404)

    def test_a_reading_is_found_under_its_own_device_only(self, owner, device, owner_api):
        other = store_reading(DeviceFactory.create(user=owner))
        problem(owner_api.get(of(device, f"/{other.pk}")), 404)

    def test_a_device_may_send_to_its_path_but_reads_nothing_else(self, device, device_api):
        reading = store_reading(device)
        assert device_api.get(of(device)).status_code == 200
        for rest in (f"/{reading.pk}", "/latest", "/series"):
            problem(device_api.get(of(device, rest)), 403)

    def test_the_latest_are_shown_with_the_measure_of_each_value(self, device, owner_api):
        store_readings(device, payloads=[{"t": 1}, {"t": 2, "gps": {"ok": True, "lat": 52.5}}])
        store_reading(device, telemetry_type="battery", payload={"voltage": 3.7})

        def shown(key, value, unit="", decimals=None):
            path = key.partition(".")[2]
            return {"key": key, "path": path, "value": value,
                    "label": path, "unit": unit, "decimals": decimals}  # fmt: skip

        assert owner_api.get(of(device, "/latest")).json() == {
            "results": [
                {
                    "telemetry_type": "battery",
                    "recorded_at": "2025-06-15T12:00:00.000000Z",
                    "values": [shown("battery.voltage", 3.7, "V", 2)],
                },
                {
                    "telemetry_type": "environment",
                    "recorded_at": "2025-06-15T12:00:01.000000Z",
                    "values": [
                        shown("environment.t", 2),
                        shown("environment.gps.ok", True),
                        shown("environment.gps.lat", 52.5, "°", 5),
                    ],
                },
            ]
        }

    def test_a_device_that_said_nothing_has_no_latest(self, device, owner_api):
        assert owner_api.get(of(device, "/latest")).json() == {"results": []}


DAY = {"from": "2025-06-15T00:00:00Z", "to": "2025-06-16T00:00:00Z"}


class TestSeries:
    def test_several_keys_are_answered_as_columns(self, device, owner_api):
        store_readings(device, payloads=[{"t": 1, "h": True}, {"t": 2, "h": False}])
        query = [("key", "environment.t"), ("key", "environment.h"), ("points", 24), *DAY.items()]
        assert owner_api.get(of(device, "/series"), query).json() == {
            "resolution": 3600,
            "source": "hour",
            "t": [1749988800],
            "series": {
                "environment.t": {"avg": [1.5], "min": [1], "max": [2], "count": [2]},
                "environment.h": {"avg": [0.5], "min": [0], "max": [1], "count": [2]},
            },
        }

    def test_buckets_begin_on_round_times_of_the_zone_asked_for(self, device, owner_api):
        store_readings(device, payloads=[{"t": 1}])
        query = {"key": "environment.t", "points": 1, "time_zone": "Asia/Kolkata", **DAY}
        answer = owner_api.get(of(device, "/series"), query).json()
        assert answer["resolution"] == 24 * 3600
        assert datetime.fromtimestamp(answer["t"][0], ZoneInfo("Asia/Kolkata")).hour == 0

    def test_where_no_key_has_a_value_is_one_bucket_of_null(self, device, owner_api):
        for hours in (0, 5):
            store_readings(device, recorded_at=NOW + timedelta(hours=hours), payloads=[{"t": 1}])
        query = [("key", "environment.t"), ("key", "environment.none"), ("points", 24)]
        answer = owner_api.get(of(device, "/series"), [*query, *DAY.items()]).json()
        assert answer["t"] == [1749988800, 1749988800 + 3600, 1749988800 + 5 * 3600]
        assert answer["series"] == {
            "environment.t": {
                "avg": [1, None, 1], "min": [1, None, 1], "max": [1, None, 1], "count": [1, 0, 1],
            },
            "environment.none": {name: [None] * 3 for name in ("avg", "min", "max")}
            | {"count": [0] * 3},
        }  # fmt: skip

    def test_a_key_asked_for_twice_is_answered_once(self, device, owner_api):
        query = [("key", "a.b"), ("key", "a.b"), *DAY.items()]
        assert list(owner_api.get(of(device, "/series"), query).json()["series"]) == ["a.b"]

    @pytest.mark.parametrize(
        ("query", "pointer"),
        [
            ([], "/key"),
            ([("key", "")], "/key"),
            ([("key", "bad")], "/key/0"),
            ([("key", "bad"), ("key", "a.b")], "/key/0"),
            ([("key", "a.b"), ("key", "a.'")], "/key/1"),
            ([("key", "a.b\0")], "/key/0"),
            ([("key", f"a.b{number}") for number in range(21)], "/key"),
            ([("key", "a.b"), ("points", "0")], "/points"),
            ([("key", "a.b"), ("points", "2001")], "/points"),
            ([("key", "a.b"), ("points", "many")], "/points"),
            ([("key", "a.b"), ("bucket", "1")], "/bucket"),
            ([("key", "a.b"), ("time_zone", "Europe/Atlantis")], "/time_zone"),
            ([("key", "a.b"), ("time_zone", "../UTC")], "/time_zone"),
            ([("key", "a.b"), ("time_zone", "Z" * 9999)], "/time_zone"),
            ([("key", "a.b"), ("from", "now")], "/from"),
            ([("key", "a.b"), ("to", "2025-06-15T00:00:00Z")], "/to"),
            ([("key", "a.b"), ("to", "2024-06-15T00:00:00Z")], "/to"),
        ],
    )
    def test_a_query_that_cannot_be_drawn_is_422(self, device, owner_api, query, pointer):
        asked = [*DAY.items(), *query]
        assert set(pointers(owner_api.get(of(device, "/series"), asked))) == {pointer}

    @pytest.mark.parametrize("missing", ["from", "to"])
    def test_a_range_has_two_ends(self, device, owner_api, missing):
        query = {"key": "a.b", **DAY}
        del query[missing]
        assert pointers(owner_api.get(of(device, "/series"), query)) == [f"/{missing}"]

    def test_all_of_time_can_be_drawn(self, device, owner_api):
        store_readings(device, payloads=[{"t": 1}])
        query = {"key": "environment.t", "points": 1, "from": "0001-01-01T00:00:00Z",
                 "to": "9999-12-31T23:59:59.999999Z"}  # fmt: skip
        answer = owner_api.get(of(device, "/series"), query)
        assert answer.json()["series"]["environment.t"]["count"] == [1]
