"""Cached authentication of devices that poll again."""

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


def request_with_token(token: str) -> HttpRequest:
    return RequestFactory().get("/", headers={"Authorization": f"Bearer {token}"})


def test_an_unknown_device_is_left_to_the_usual_authentication(device: Device) -> None:
    assert fast_auth.authenticate_cached_device(request_with_token(device_token(device))) is None
    assert fast_auth.authenticate_cached_device(request_with_token("")) is None
    assert fast_auth.authenticate_cached_device(RequestFactory().get("/")) is None


def test_a_cached_device_is_authenticated_and_marked_as_seen_in_one_query(
    device: Device, django_assert_num_queries
) -> None:
    token = device_token(device)
    Api(token).get("/api/v1/device")
    Device.objects.update(last_seen_at=timezone.now() - timedelta(hours=1), status="offline")
    with django_assert_num_queries(1):
        assert fast_auth.authenticate_cached_device(request_with_token(token)) == (
            device,
            device.user_id,
        )
    device.refresh_from_db()
    assert device.status == "online"
    assert device.last_seen_at > timezone.now() - timedelta(minutes=1)


def test_the_owner_is_read_from_the_database_and_not_from_the_cache(device: Device) -> None:
    token, other = device_token(device), UserFactory.create()
    Api(token).get("/api/v1/device")
    Device.objects.update(user=other)
    arrival = fast_auth.authenticate_cached_device(request_with_token(token))
    assert arrival is not None
    assert arrival.owner_id == other.pk


def test_a_revoked_token_in_the_cache_is_rejected(device: Device) -> None:
    row, token = device_token_and_row(device)
    Api(token).get("/api/v1/device")
    device_services.revoke_token(row)
    assert fast_auth.authenticate_cached_device(request_with_token(token)) is None


def test_a_deactivated_device_in_the_cache_is_rejected_and_not_marked_as_seen(
    device: Device,
) -> None:
    token = device_token(device)
    Api(token).get("/api/v1/device")
    device_services.deactivate([device], now=timezone.now())
    Device.objects.update(last_seen_at=None)
    assert fast_auth.authenticate_cached_device(request_with_token(token)) is None
    device.refresh_from_db()
    assert device.last_seen_at is None


@pytest.mark.django_db(transaction=True)
def test_asynchronous_commit_applies_only_to_the_update_of_last_seen(device: Device) -> None:
    token = device_token(device)
    Api(token).get("/api/v1/device")
    fast_auth.authenticate_cached_device(request_with_token(token))
    with connection.cursor() as cursor:
        cursor.execute("SHOW synchronous_commit")
        assert cursor.fetchone() == ("on",)
