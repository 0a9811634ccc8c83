"""Devices that come again to wait."""

from datetime import timedelta

import pytest
from django.db import connection
from django.http import HttpRequest
from django.test import RequestFactory
from django.utils import timezone

from devices import services as device_services
from devices.models import Device
from telemetry_site.live import fast_auth
from tests.conftest import Api
from tests.factories import UserFactory, device_token, device_token_and_row

pytestmark = pytest.mark.django_db


def asking(token: str) -> HttpRequest:
    return RequestFactory().get("/", headers={"Authorization": f"Bearer {token}"})


def test_one_that_was_never_here_is_left_to_the_usual_door(device: Device) -> None:
    assert fast_auth.authenticate_cached_device(asking(device_token(device))) is None
    assert fast_auth.authenticate_cached_device(asking("")) is None
    assert fast_auth.authenticate_cached_device(RequestFactory().get("/")) is None


def test_one_that_comes_again_is_known_in_one_statement_which_is_contact(
    device: Device, django_assert_num_queries
) -> None:
    token = device_token(device)
    Api(token).get("/api/v1/device")
    Device.objects.update(last_seen_at=timezone.now() - timedelta(hours=1), status="offline")
    with django_assert_num_queries(1):
        assert fast_auth.authenticate_cached_device(asking(token)) == (device, device.user_id)
    device.refresh_from_db()
    assert device.status == "online"
    assert device.last_seen_at > timezone.now() - timedelta(minutes=1)


def test_the_owner_is_the_one_of_now_and_not_the_one_that_was_remembered(device: Device) -> None:
    token, other = device_token(device), UserFactory.create()
    Api(token).get("/api/v1/device")
    Device.objects.update(user=other)
    arrival = fast_auth.authenticate_cached_device(asking(token))
    assert arrival is not None
    assert arrival.owner_id == other.pk


def test_one_whose_token_was_revoked_is_not_let_in_by_what_is_remembered(device: Device) -> None:
    row, token = device_token_and_row(device)
    Api(token).get("/api/v1/device")
    device_services.revoke_token(row)
    assert fast_auth.authenticate_cached_device(asking(token)) is None


def test_one_that_was_deactivated_is_not_let_in_and_leaves_no_contact(device: Device) -> None:
    token = device_token(device)
    Api(token).get("/api/v1/device")
    device_services.deactivate([device], now=timezone.now())
    Device.objects.update(last_seen_at=None)
    assert fast_auth.authenticate_cached_device(asking(token)) is None
    device.refresh_from_db()
    assert device.last_seen_at is None


@pytest.mark.django_db(transaction=True)
def test_only_the_commit_of_the_contact_does_not_wait_for_the_disk(device: Device) -> None:
    token = device_token(device)
    Api(token).get("/api/v1/device")
    fast_auth.authenticate_cached_device(asking(token))
    with connection.cursor() as cursor:
        cursor.execute("SHOW synchronous_commit")
        assert cursor.fetchone() == ("on",)
