"""The express lane says nothing that the other door would not say."""

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
from tests.problems import told
from tests.telemetry.sending import OWN, READING, one_more

pytestmark = pytest.mark.usefixtures("commits_count")


OWN_HEADERS = {"X-Request-Id", "Allow"}
"""What differs by its nature."""


@pytest.fixture
def passed(monkeypatch):
    """How many requests have gone by the express lane."""
    answers = []
    real = fast_path.try_fast_path

    def counted(request):
        answer = real(request)
        answers.append(answer is not None)
        return answer

    monkeypatch.setattr(fast_path, "try_fast_path", counted)
    return lambda: sum(answers)


@pytest.fixture
def known_api(device_api):
    """Of a device that has spoken."""
    assert device_api.post(OWN, READING).status_code == 201
    return device_api


def test_a_device_that_has_spoken_takes_it(known_api, passed):
    answer = known_api.post(OWN, one_more(1))
    assert (answer.status_code, passed()) == (201, 1)
    again = known_api.post(OWN, one_more(1))
    assert (again.status_code, passed()) == (200, 2)
    assert again.json() == answer.json()


def test_both_doors_answer_alike(device, known_api, passed, monkeypatch):
    CommandFactory.create(device=device)
    quick = known_api.post(OWN, one_more(1))
    assert passed() == 1
    Telemetry.objects.all().delete()
    monkeypatch.setattr(fast_path, "MAX_BODY_BYTES", 0)
    slow = known_api.post(OWN, one_more(1))
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
def test_a_few_take_it_together_and_are_answered_as_at_the_other_door(
    known_api, passed, monkeypatch, form
):
    batch = form([one_more(number) for number in range(1, 30)])
    quick = known_api.post(OWN, batch)
    again = known_api.post(OWN, batch)
    assert passed() == 2
    Telemetry.objects.all().delete()
    monkeypatch.setattr(fast_path, "MAX_BODY_BYTES", 0)
    slow = known_api.post(OWN, batch)
    assert quick.status_code == slow.status_code == again.status_code == 201
    assert quick.json() == slow.json()
    assert (quick.json()["accepted"], again.json()["duplicates"]) == (29, 29)


def test_many_are_copied_at_the_other_door(known_api, passed, monkeypatch):
    monkeypatch.setattr(storage, "COPY_THRESHOLD", 3)
    answer = known_api.post(OWN, [one_more(number) for number in range(1, 4)])
    assert (answer.json()["accepted"], passed()) == (3, 0)


def test_a_name_that_is_not_ours_is_refused_at_both_doors(known_api, passed):
    answer = known_api.post(OWN, one_more(1), headers={"Host": "evil.example"})
    assert (answer.status_code, passed()) == (400, 0)


def test_it_is_contact_with_the_device(device, known_api, passed):
    Device.objects.update(last_seen_at=None, status="offline")
    known_api.post(OWN, one_more(1))
    device.refresh_from_db()
    assert passed() == 1
    assert (device.status, device.last_seen_at is None) == ("online", False)


ENDS = {
    "revoked": lambda device: device_services.revoke_token(device.tokens.get()),
    "replaced": lambda device: replaced(device),
    "expired": lambda device: device.tokens.update(expires_at="2025-01-01T00:00:00Z"),
    "deleted": lambda device: DeviceToken.objects.all().delete(),
    "decommissioned": lambda device: device_services.soft_delete(device, now=device.created_at),
    "gone": lambda device: (Telemetry.objects.all().delete(), device.delete()),
    "owner deactivated": lambda device: User.objects.update(is_active=False),
}


def replaced(device):
    """By a token whose first use is longer ago than the time of grace."""
    now = timezone.now()
    new, _ = device_services.rotate_token(device, now=now)
    device_services.record_token_use(new, now=now - device_services.ROTATION_GRACE)


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_a_token_that_has_ended_is_refused_on_the_next_request(device, known_api, end):
    assert known_api.post(OWN, one_more(1)).status_code == 201
    end(device)
    before = Telemetry.objects.count()
    told(known_api.post(OWN, one_more(2)), 401)
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
def test_what_is_not_usual_is_left_to_the_other_door(known_api, passed, body, headers, status):
    assert known_api.post(OWN, body, headers=headers).status_code == status
    assert passed() == 0


@pytest.mark.parametrize("way", ["get", "put", "delete"])
def test_other_methods_are_not_its_business(known_api, passed, way):
    assert getattr(known_api.client, way)(OWN).status_code == 405
    assert passed() == 0


def test_a_token_with_a_typo_or_of_somebody_else_opens_nothing(known_api):
    stranger = device_token(DeviceFactory.create())
    for token in (stranger[:-1] + "!", stranger.upper(), "tsd_", ""):
        told(Api(token).post(OWN, READING), 401)


def test_after_ten_minutes_the_use_of_the_token_is_noted_again(device, known_api, passed):
    known_api.post(OWN, one_more(1))
    token = device.tokens.get()
    assert token.last_used_at is not None
    (held,) = [one for one in authentication._token_cache._values.values() if one.pk == token.pk]
    held.last_used_at -= timedelta(minutes=11)
    device.tokens.update(last_used_at=held.last_used_at)
    known_api.post(OWN, one_more(2))
    assert passed() == 1
    assert device.tokens.get().last_used_at > token.last_used_at


@pytest.mark.django_db(transaction=True)
def test_who_has_waited_for_a_lock_in_vain_does_not_wait_again(known_api, monkeypatch):
    def waits_again(*args, **kwargs):
        raise AssertionError

    monkeypatch.setattr(storage, "store", waits_again)
    other = connections.create_connection("default")
    try:
        with other.cursor() as cursor, connection.cursor() as ours:
            cursor.execute("BEGIN; LOCK TABLE telemetry IN ACCESS EXCLUSIVE MODE")
            ours.execute("SET lock_timeout = 10")
            answer = known_api.post(OWN, one_more(1))
            ours.execute("SET lock_timeout = 2000")
            cursor.execute("ROLLBACK")
    finally:
        other.close()
    assert told(answer, 503)
    assert answer["Retry-After"] == "1"
    assert known_api.post(OWN, one_more(1)).status_code == 201
