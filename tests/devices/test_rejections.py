"""What was refused is counted at the device, where its owner sees it."""

from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client

from devices import rejections
from devices import services as device_services
from devices.models import Device, Refusal
from tests.conftest import Api
from tests.factories import NOW, device_token, device_token_and_row

TELEMETRY = "/api/v1/device/telemetry"
BAD = {"telemetry_type": "environment", "payload": {"a": "\0", "b": "\0"}}
GOOD = {"telemetry_type": "environment", "payload": {"a": 1}}


def seen_by_owner(owner_api: Api, device: Device) -> list[dict[str, Any]]:
    answer = owner_api.get(f"/api/v1/devices/{device.pk}/refusals")
    assert answer.status_code == 200
    return answer.json()


def counts(device: Device) -> dict[str, int]:
    return dict(Refusal.objects.filter(device=device).values_list("code", "count"))


def why(code: str, count: int = 1) -> list[rejections.RejectionReason]:
    return [rejections.RejectionReason(code, count, "/payload", "No.")]


def test_a_refused_reading_is_told_to_its_owner_with_the_reason(
    device: Device, device_api: Api, owner_api: Api
) -> None:
    answer = device_api.post(TELEMETRY, BAD)
    assert answer.status_code == 422
    (refusal,) = seen_by_owner(owner_api, device)
    assert refusal["code"] == "nul-character"
    assert refusal["count"] == 2
    assert refusal["status"] == 422
    assert refusal["pointer"] == "/payload/b"
    assert refusal["request_id"] == answer["X-Request-Id"]
    assert refusal["detail"] == answer.json()["errors"][1]["detail"]


def test_so_are_the_bad_ones_of_a_batch_that_is_stored(device: Device, device_api: Api) -> None:
    assert device_api.post(TELEMETRY, [GOOD, BAD, BAD]).status_code == 201
    assert device_api.post(TELEMETRY, [GOOD, BAD]).status_code == 201
    assert counts(device) == {"nul-character": 6}


@pytest.mark.parametrize(
    ("body", "how", "code"),
    [
        (b"{", {}, "400"),
        (b"x" * (1024 * 1024 + 1), {}, "413"),
        (b"a=1", {"content_type": "application/x-www-form-urlencoded"}, "415"),
        (b"{}", {"headers": {"Transfer-Encoding": "gzip, chunked"}}, "411"),
    ],
)
def test_a_whole_request_is_counted_by_its_status(
    device: Device, device_api: Api, body: bytes, how: dict[str, Any], code: str
) -> None:
    assert device_api.post(TELEMETRY, body, **how).status_code == int(code)
    assert counts(device) == {code: 1}


def test_a_revoked_token_still_tells_whose_it_was(device: Device) -> None:
    token, text = device_token_and_row(device)
    device_services.revoke_token(token)
    assert Api(text).post(TELEMETRY, GOOD).status_code == 401
    assert counts(device) == {"401": 1}


def test_nothing_is_counted_of_a_token_that_never_was(device: Device) -> None:
    unknown = device_token(device)[:-1] + "!"
    assert Api(unknown).post(TELEMETRY, GOOD).status_code == 401
    assert not Refusal.objects.exists()


def test_what_an_owner_sends_for_a_device_counts_but_no_other_mistake_of_theirs(
    device: Device, owner_api: Api, stranger_api: Api
) -> None:
    where = f"/api/v1/devices/{device.pk}"
    assert owner_api.post(f"{where}/telemetry", BAD).status_code == 422
    assert owner_api.post(f"{where}/commands", {}).status_code == 422
    assert stranger_api.post(f"{where}/telemetry", BAD).status_code == 404
    assert counts(device) == {"nul-character": 2}


def test_strangers_learn_nothing(device: Device, device_api: Api, stranger_api: Api) -> None:
    device_api.post(TELEMETRY, BAD)
    answer = stranger_api.get(f"/api/v1/devices/{device.pk}/refusals")
    unknown = stranger_api.get(f"/api/v1/devices/{uuid4()}/refusals")
    assert answer.status_code == unknown.status_code == 404


def test_its_page_shows_them_as_text(device: Device, device_api: Api, owner_client: Client) -> None:
    device_api.post(TELEMETRY, {"telemetry_type": "x", "payload": {"<script>": "\0"}})
    page = owner_client.get(f"/devices/{device.pk}").content.decode()
    assert "nul-character" in page
    assert "/payload/&lt;script&gt;" in page


def test_who_connects_it_sees_why_it_was_refused(
    device: Device, device_api: Api, owner_client: Client
) -> None:
    path = f"/devices/{device.pk}/first"
    assert "Refused" not in owner_client.get(path).content.decode()
    device_api.post(TELEMETRY, b"{")
    assert 'id="refusal"' in owner_client.get(path).content.decode()
    device_api.post(TELEMETRY, GOOD)
    assert "Refused" not in owner_client.get(path).content.decode()


def test_the_newest_comes_first_and_its_words_are_the_last(device: Device) -> None:
    for number, code in enumerate(["one", "two", "one"]):
        why = [rejections.RejectionReason(code, 1, "", f"No. {number}")]
        rejections.record(device.pk, why, status=422, request_id=str(number), now=NOW)
        Refusal.objects.filter(code=code).update(last_at=NOW.replace(second=number))
    assert [(one.code, one.count, one.detail) for one in rejections.for_device(device)] == [
        ("one", 2, "No. 2"),
        ("two", 1, "No. 1"),
    ]


def test_all_are_summed_up_by_code(device: Device, stranger: Any) -> None:
    other = device_services.create_device(stranger, name="other")[0]
    for each, count in ((device, 2), (other, 3)):
        rejections.record(each.pk, why("one", count), status=422, request_id="", now=NOW)
    rejections.record(other.pk, why("two"), status=422, request_id="", now=NOW)
    assert [(row["code"], row["total"]) for row in Refusal.objects.by_code()] == [
        ("one", 5),
        ("two", 1),
    ]


def test_what_no_text_of_postgresql_may_hold_is_written_another_way(device: Device) -> None:
    why = [rejections.RejectionReason("bad", 1, "/\ud800", "\0" + "x" * 10_000)]
    rejections.record(device.pk, why, status=422, request_id="", now=NOW)
    (found,) = rejections.for_device(device)
    assert found.pointer == "/\\ud800"
    assert found.detail.startswith("\\u0000x")
    assert len(found.detail) < 600


def test_who_is_sent_away_again_and_again_is_written_once_a_second(
    device: Device, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    clock = [100.0]
    monkeypatch.setattr(rejections.time, "monotonic", lambda: clock[0])

    def sent_away() -> None:
        rejections.record(device.pk, why("429"), status=429, request_id="", now=NOW)

    sent_away()
    with django_assert_num_queries(0):
        for _ in range(50):
            sent_away()
    assert counts(device) == {"429": 1}
    clock[0] += 1
    sent_away()
    assert counts(device) == {"429": 52}


def test_what_cannot_be_counted_changes_no_answer(
    device: Device, device_api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SAVEPOINT before")
        cursor.execute("ALTER TABLE device_refusals RENAME TO gone")
        assert device_api.post(TELEMETRY, BAD).status_code == 422
        cursor.execute("ROLLBACK TO before")
    assert "is not counted" in caplog.text
