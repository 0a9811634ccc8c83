"""The fast path of ingest returns the same responses as the view."""

from datetime import timedelta

import pytest
from django.db import connection, connections
from django.utils import timezone

from accounts.models import User
from devices import authentication
from devices import services as device_services
from devices.models import Device, DeviceToken
from telemetry.api import fast_path
from telemetry.ingest import storage
from telemetry.models import Telemetry
from tests.conftest import Api
from tests.factories import CommandFactory, DeviceFactory, device_token
from tests.problems import read_problem
from tests.telemetry.ingest_requests import OWN_PATH, READING, reading_after

pytestmark = pytest.mark.usefixtures("immediate_on_commit")


OWN_HEADERS = {"X-Request-Id", "Allow"}
"""Headers that differ in every response."""


@pytest.fixture
def fast_path_count(monkeypatch):
    """Return a function that counts the requests served by the fast path."""
    answers = []
    real = fast_path.try_fast_path

    def counted(request):
        answer = real(request)
        answers.append(answer is not None)
        return answer

    monkeypatch.setattr(fast_path, "try_fast_path", counted)
    return lambda: sum(answers)


@pytest.fixture
def cached_api(device_api):
    """Return the client of a device that has sent a reading before."""
    assert device_api.post(OWN_PATH, READING).status_code == 201
    return device_api


def test_a_request_of_a_known_device_takes_the_fast_path(cached_api, fast_path_count):
    answer = cached_api.post(OWN_PATH, reading_after(1))
    assert (answer.status_code, fast_path_count()) == (201, 1)
    again = cached_api.post(OWN_PATH, reading_after(1))
    assert (again.status_code, fast_path_count()) == (200, 2)
    assert again.json() == answer.json()


def test_the_fast_path_and_the_view_return_the_same_response(
    device, cached_api, fast_path_count, monkeypatch
):
    CommandFactory.create(device=device)
    quick = cached_api.post(OWN_PATH, reading_after(1))
    assert fast_path_count() == 1
    Telemetry.objects.all().delete()
    monkeypatch.setattr(fast_path, "MAX_BODY_BYTES", 0)
    slow = cached_api.post(OWN_PATH, reading_after(1))
    assert quick.status_code == slow.status_code == 201
    assert quick.json() | {"created_at": ""} == slow.json() | {"created_at": ""}
    assert quick.json()["pending_commands"] == 1
    told = [
        {name: value for name, value in answer.items() if name not in OWN_HEADERS}
        for answer in (quick, slow)
    ]
    assert told[0] == told[1]
    assert "X-Request-Id" in quick


@pytest.mark.parametrize("form", [list, lambda batch: {"readings": batch}])
def test_a_small_batch_takes_the_fast_path_with_the_same_response_as_the_view(
    cached_api, fast_path_count, monkeypatch, form
):
    batch = form([reading_after(number) for number in range(1, 30)])
    quick = cached_api.post(OWN_PATH, batch)
    again = cached_api.post(OWN_PATH, batch)
    assert fast_path_count() == 2
    Telemetry.objects.all().delete()
    monkeypatch.setattr(fast_path, "MAX_BODY_BYTES", 0)
    slow = cached_api.post(OWN_PATH, batch)
    assert quick.status_code == slow.status_code == again.status_code == 201
    assert quick.json() == slow.json()
    assert (quick.json()["accepted"], again.json()["duplicates"]) == (29, 29)


def test_a_large_batch_is_left_to_the_view(cached_api, fast_path_count, monkeypatch):
    monkeypatch.setattr(storage, "COPY_THRESHOLD", 3)
    answer = cached_api.post(OWN_PATH, [reading_after(number) for number in range(1, 4)])
    assert (answer.json()["accepted"], fast_path_count()) == (3, 0)


def test_a_wrong_host_is_400_and_does_not_take_the_fast_path(cached_api, fast_path_count):
    answer = cached_api.post(OWN_PATH, reading_after(1), headers={"Host": "evil.example"})
    assert (answer.status_code, fast_path_count()) == (400, 0)


def test_the_fast_path_marks_the_device_as_online(device, cached_api, fast_path_count):
    Device.objects.update(last_seen_at=None, status="offline")
    cached_api.post(OWN_PATH, reading_after(1))
    device.refresh_from_db()
    assert fast_path_count() == 1
    assert (device.status, device.last_seen_at is None) == ("online", False)


ENDS = {
    "revoked": lambda device: device_services.revoke_token(device.tokens.get()),
    "replaced": lambda device: rotate_past_grace(device),
    "expired": lambda device: device.tokens.update(expires_at="2025-01-01T00:00:00Z"),
    "deleted": lambda device: DeviceToken.objects.all().delete(),
    "decommissioned": lambda device: device_services.soft_delete(device, now=device.created_at),
    "gone": lambda device: (Telemetry.objects.all().delete(), device.delete()),
    "owner deactivated": lambda device: User.objects.update(is_active=False),
}


def rotate_past_grace(device):
    """Rotate the token; its successor was first used longer ago than the grace period."""
    now = timezone.now()
    new, _ = device_services.rotate_token(device, now=now)
    device_services.record_token_use(new, now=now - device_services.ROTATION_GRACE)


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_an_inactive_token_is_401_on_the_next_request(device, cached_api, end):
    assert cached_api.post(OWN_PATH, reading_after(1)).status_code == 201
    end(device)
    before = Telemetry.objects.count()
    read_problem(cached_api.post(OWN_PATH, reading_after(2)), 401)
    assert Telemetry.objects.count() == before


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        ({**READING, "payload": {}}, {}, 422),
        ({**READING, "recorded_at": "1970-01-01T00:00:00Z"}, {}, 422),
        ([READING, {**READING, "payload": {}}], {}, 201),
        ([], {}, 201),
        (b"{", {}, 400),
        (READING, {"Idempotency-Key": "k"}, 200),
        (READING, {"Content-Encoding": "br"}, 415),
        ({**READING, "payload": {"text": "x" * 5000, "a": "y" * 30_000}}, {}, 422),
        ({**READING, "recorded_at": "2003-04-05T00:00:00Z"}, {}, 201),
    ],
)
def test_an_unusual_request_is_left_to_the_view(cached_api, fast_path_count, body, headers, status):
    assert cached_api.post(OWN_PATH, body, headers=headers).status_code == status
    assert fast_path_count() == 0


@pytest.mark.parametrize("way", ["get", "put", "delete"])
def test_another_method_is_405_and_does_not_take_the_fast_path(cached_api, fast_path_count, way):
    assert getattr(cached_api.client, way)(OWN_PATH).status_code == 405
    assert fast_path_count() == 0


def test_a_malformed_token_or_one_of_another_device_is_401(cached_api):
    stranger = device_token(DeviceFactory.create())
    for token in (stranger[:-1] + "!", stranger.upper(), "tsd_", ""):
        read_problem(Api(token).post(OWN_PATH, READING), 401)


def test_the_use_of_a_token_is_recorded_again_after_ten_minutes(
    device, cached_api, fast_path_count
):
    cached_api.post(OWN_PATH, reading_after(1))
    token = device.tokens.get()
    assert token.last_used_at is not None
    (held,) = [one for one in authentication._token_cache._values.values() if one.pk == token.pk]
    held.last_used_at -= timedelta(minutes=11)
    device.tokens.update(last_used_at=held.last_used_at)
    cached_api.post(OWN_PATH, reading_after(2))
    assert fast_path_count() == 1
    assert device.tokens.get().last_used_at > token.last_used_at


@pytest.mark.django_db(transaction=True)
def test_after_a_lock_timeout_the_fast_path_returns_503_without_a_second_wait(
    cached_api, monkeypatch
):
    def waits_again(*args, **kwargs):
        raise AssertionError

    monkeypatch.setattr(storage, "store", waits_again)
    other = connections.create_connection("default")
    try:
        with other.cursor() as cursor, connection.cursor() as ours:
            cursor.execute("BEGIN; LOCK TABLE telemetry IN ACCESS EXCLUSIVE MODE")
            ours.execute("SET lock_timeout = 10")
            answer = cached_api.post(OWN_PATH, reading_after(1))
            ours.execute("SET lock_timeout = 2000")
            cursor.execute("ROLLBACK")
    finally:
        other.close()
    assert read_problem(answer, 503)
    assert answer["Retry-After"] == "1"
    assert cached_api.post(OWN_PATH, reading_after(1)).status_code == 201
