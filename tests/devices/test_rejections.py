"""Rejected requests are counted per device and shown to its owner."""

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


def list_as_owner(owner_api: Api, device: Device) -> list[dict[str, Any]]:
    response = owner_api.get(f"/api/v1/devices/{device.pk}/refusals")
    assert response.status_code == 200
    return response.json()


def counts(device: Device) -> dict[str, int]:
    return dict(Refusal.objects.filter(device=device).values_list("code", "count"))


def reasons(code: str, count: int = 1) -> list[rejections.RejectionReason]:
    return [rejections.RejectionReason(code, count, "/payload", "No.")]


def test_a_rejected_reading_is_reported_to_the_owner_with_its_reason(
    device: Device, device_api: Api, owner_api: Api
) -> None:
    response = device_api.post(TELEMETRY, BAD)
    assert response.status_code == 422
    (rejection,) = list_as_owner(owner_api, device)
    assert rejection["code"] == "nul-character"
    assert rejection["count"] == 2
    assert rejection["status"] == 422
    assert rejection["pointer"] == "/payload/b"
    assert rejection["request_id"] == response["X-Request-Id"]
    assert rejection["detail"] == response.json()["errors"][1]["detail"]


def test_rejected_readings_of_a_stored_batch_are_counted(device: Device, device_api: Api) -> None:
    assert device_api.post(TELEMETRY, [GOOD, BAD, BAD]).status_code == 201
    assert device_api.post(TELEMETRY, [GOOD, BAD]).status_code == 201
    assert counts(device) == {"nul-character": 6}


@pytest.mark.parametrize(
    ("body", "kwargs", "code"),
    [
        (b"{", {}, "400"),
        (b"x" * (1024 * 1024 + 1), {}, "413"),
        (b"a=1", {"content_type": "application/x-www-form-urlencoded"}, "415"),
        (b"{}", {"headers": {"Transfer-Encoding": "gzip, chunked"}}, "411"),
    ],
)
def test_a_rejected_request_is_counted_by_its_status(
    device: Device, device_api: Api, body: bytes, kwargs: dict[str, Any], code: str
) -> None:
    assert device_api.post(TELEMETRY, body, **kwargs).status_code == int(code)
    assert counts(device) == {code: 1}


def test_a_request_with_a_revoked_token_is_counted_for_its_device(device: Device) -> None:
    token, text = device_token_and_row(device)
    device_services.revoke_token(token)
    assert Api(text).post(TELEMETRY, GOOD).status_code == 401
    assert counts(device) == {"401": 1}


def test_a_request_with_an_unknown_token_is_not_counted(device: Device) -> None:
    unknown = device_token(device)[:-1] + "!"
    assert Api(unknown).post(TELEMETRY, GOOD).status_code == 401
    assert not Refusal.objects.exists()


def test_of_requests_by_the_owner_only_rejected_readings_are_counted(
    device: Device, owner_api: Api, stranger_api: Api
) -> None:
    path = f"/api/v1/devices/{device.pk}"
    assert owner_api.post(f"{path}/telemetry", BAD).status_code == 422
    assert owner_api.post(f"{path}/commands", {}).status_code == 422
    assert stranger_api.post(f"{path}/telemetry", BAD).status_code == 404
    assert counts(device) == {"nul-character": 2}


def test_rejections_of_a_device_of_another_user_are_404(
    device: Device, device_api: Api, stranger_api: Api
) -> None:
    device_api.post(TELEMETRY, BAD)
    response = stranger_api.get(f"/api/v1/devices/{device.pk}/refusals")
    unknown = stranger_api.get(f"/api/v1/devices/{uuid4()}/refusals")
    assert response.status_code == unknown.status_code == 404


def test_the_device_page_escapes_rejections(
    device: Device, device_api: Api, owner_client: Client
) -> None:
    device_api.post(TELEMETRY, {"telemetry_type": "x", "payload": {"<script>": "\0"}})
    page = owner_client.get(f"/devices/{device.pk}").content.decode()
    assert "nul-character" in page
    assert "/payload/&lt;script&gt;" in page


def test_the_connect_page_shows_a_rejection_until_a_reading_is_accepted(
    device: Device, device_api: Api, owner_client: Client
) -> None:
    path = f"/devices/{device.pk}/first"
    assert "Rejected requests" not in owner_client.get(path).content.decode()
    device_api.post(TELEMETRY, b"{")
    assert 'id="refusal"' in owner_client.get(path).content.decode()
    device_api.post(TELEMETRY, GOOD)
    assert "Rejected requests" not in owner_client.get(path).content.decode()


def test_rejections_are_sorted_by_time_and_have_the_newest_detail(device: Device) -> None:
    for number, code in enumerate(["one", "two", "one"]):
        reasons = [rejections.RejectionReason(code, 1, "", f"No. {number}")]
        rejections.record(device.pk, reasons, status=422, request_id=str(number), now=NOW)
        Refusal.objects.filter(code=code).update(last_at=NOW.replace(second=number))
    assert [(one.code, one.count, one.detail) for one in rejections.for_device(device)] == [
        ("one", 2, "No. 2"),
        ("two", 1, "No. 1"),
    ]


def test_the_totals_of_all_devices_are_grouped_by_code(device: Device, stranger: Any) -> None:
    other = device_services.create_device(stranger, name="other")[0]
    for each, count in ((device, 2), (other, 3)):
        rejections.record(each.pk, reasons("one", count), status=422, request_id="", now=NOW)
    rejections.record(other.pk, reasons("two"), status=422, request_id="", now=NOW)
    assert [(row["code"], row["total"]) for row in Refusal.objects.totals_by_code()] == [
        ("one", 5),
        ("two", 1),
    ]


def test_surrogates_and_nul_characters_are_escaped_and_long_details_are_cut(device: Device) -> None:
    reasons = [rejections.RejectionReason("bad", 1, "/\ud800", "\0" + "x" * 10_000)]
    rejections.record(device.pk, reasons, status=422, request_id="", now=NOW)
    (found,) = rejections.for_device(device)
    assert found.pointer == "/\\ud800"
    assert found.detail.startswith("\\u0000x")
    assert len(found.detail) < 600


def test_repeated_429_responses_are_written_once_a_second(
    device: Device, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    clock = [100.0]
    monkeypatch.setattr(rejections.time, "monotonic", lambda: clock[0])

    def reject() -> None:
        rejections.record(device.pk, reasons("429"), status=429, request_id="", now=NOW)

    reject()
    with django_assert_num_queries(0):
        for _ in range(50):
            reject()
    assert counts(device) == {"429": 1}
    clock[0] += 1
    reject()
    assert counts(device) == {"429": 52}


def test_a_failure_to_count_does_not_change_the_response(
    device: Device, device_api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SAVEPOINT before")
        cursor.execute("ALTER TABLE device_refusals RENAME TO gone")
        assert device_api.post(TELEMETRY, BAD).status_code == 422
        cursor.execute("ROLLBACK TO before")
    assert "is not counted" in caplog.text
