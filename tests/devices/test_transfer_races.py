"""Requests of the old owner that a transfer of the device overtakes."""

import threading

import pytest
from django.db import transaction
from django.utils import timezone

from accounts.models import User
from devices import services as device_services
from devices.models import Device, DeviceToken
from tests.concurrency import run_concurrently
from tests.conftest import Api, signed_in
from tests.factories import device_token_and_row, user_token
from tests.waits import TIMEOUT_SECONDS

CALLS = ("issue_token", "rotate_token", "rotate_one_token", "update_device", "soft_delete")


@pytest.fixture
def transfer_before_change(stranger, monkeypatch):
    """Return a function. After its call, each request's device is transferred after the request
    has read it and before the request changes it.
    """

    def wrap(name):
        original = getattr(device_services, name)

        def call(row, *args, **options):
            stored = Device.objects.get(pk=getattr(row, "device_id", row.pk))
            device_services.transfer([stored], stranger, now=timezone.now())
            return original(row, *args, **options)

        monkeypatch.setattr(device_services, name, call)

    return lambda: [wrap(name) for name in CALLS]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("post", "/tokens", {}),
        ("post", "/tokens/rotate", {}),
        ("patch", "", {"name": "changed"}),
        ("delete", "", None),
    ],
)
def test_the_api_does_not_change_a_device_of_the_new_owner(
    owner_api, stranger, device, transfer_before_change, method, path, body
):
    _token, secret = device_token_and_row(device)
    Api(secret).get("/api/v1/device")
    transfer_before_change()
    answer = getattr(owner_api, method)(f"/api/v1/devices/{device.pk}{path}", body)
    assert answer.status_code == 404
    assert_unchanged(device, stranger)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/devices/{device}/connect", {}),
        (
            "/devices/{device}/settings",
            {"name": "new", "device_type": "sensor", "expected_interval": 60, "metadata": "{}"},
        ),
        ("/devices/{device}/delete", {"delete-confirmed_name": "greenhouse"}),
        ("/devices/{device}/tokens/new", {"label": "mine"}),
        ("/devices/{device}/tokens/{token}/rotate", {}),
    ],
)
def test_a_page_does_not_change_a_device_of_the_new_owner(
    owner, stranger, device, transfer_before_change, path, body
):
    token, secret = device_token_and_row(device)
    Api(secret).get("/api/v1/device")
    transfer_before_change()
    answer = signed_in(owner).post(path.format(device=device.pk, token=token.pk), body)
    assert answer.status_code == 404
    assert_unchanged(device, stranger)


def assert_unchanged(device: Device, new_owner: User) -> None:
    stored = Device.objects.get(pk=device.pk)
    assert (stored.user, stored.name, stored.deleted_at) == (new_owner, device.name, None)
    assert DeviceToken.objects.filter(device=device, revoked=False).count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_request_that_waits_for_the_transfer_gets_no_token(owner, stranger, device):
    locked, api = threading.Event(), Api(user_token(owner))
    read = threading.Event()
    original = device_services.issue_token

    def issue(*args, **options):
        read.set()
        return original(*args, **options)

    def transfer() -> None:
        with transaction.atomic():
            device_services.transfer([device], stranger, now=timezone.now())
            locked.set()
            assert read.wait(TIMEOUT_SECONDS)

    def post() -> int:
        assert locked.wait(TIMEOUT_SECONDS)
        return api.post(f"/api/v1/devices/{device.pk}/tokens", {}).status_code

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(device_services, "issue_token", issue)
        assert run_concurrently(transfer, post) == [None, 404]
    assert not DeviceToken.objects.filter(device=device).exists()
