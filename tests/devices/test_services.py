from datetime import timedelta

import pytest
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import IntegrityError

from accounts.tokens import format as token_format
from common.strict_json import InvalidJSONValue
from devices import services as device_services
from devices.models import Device, DeviceToken
from tests.concurrency import run_concurrently
from tests.conftest import Api
from tests.factories import NOW, DeviceFactory, UserFactory, device_token, device_token_and_row

LIMIT = settings.TOKENS_PER_DEVICE


def is_accepted(secret):
    return Api(secret).get("/api/v1/device").status_code == 200


def test_a_new_device_has_a_token_that_is_accepted(owner):
    device, secret = device_services.create_device(
        owner, name="greenhouse", metadata={"room": "north"}, expected_interval=10
    )
    device.refresh_from_db()
    assert (device.user, device.name, device.device_type) == (owner, "greenhouse", "generic")
    assert (device.status, device.last_seen_at) == ("offline", None)
    assert device.metadata == {"room": "north"}
    assert device.expected_interval == 10
    assert bytes(device.tokens.get().token_hash) == secret.digest
    assert token_format.parse(secret.text, "tsd") == secret
    assert is_accepted(secret.text)


@pytest.mark.parametrize(
    "fields",
    [
        {"name": ""},
        {"name": "x" * 201},
        {"device_type": "x" * 65},
        {"device_type": ""},
        {"expected_interval": 0},
        {"expected_interval": -1},
        {"expected_interval": 30 * 24 * 3600 + 1},
        {"expected_interval": "often"},
    ],
)
def test_a_device_with_an_invalid_field_is_neither_created_nor_changed(owner, device, fields):
    with pytest.raises(ValidationError) as caught:
        device_services.create_device(owner, **{"name": "new", **fields})
    assert set(caught.value.error_dict) == set(fields)
    with pytest.raises(ValidationError):
        device_services.update_device(device, **fields)
    assert Device.objects.values_list("name", "expected_interval").get() == ("greenhouse", 60)


@pytest.mark.parametrize("metadata", [{"a": "\0"}, [], None, {"a": "x" * 17_000}, {"a": 2**54}])
def test_a_device_with_invalid_metadata_is_neither_created_nor_changed(owner, device, metadata):
    with pytest.raises(InvalidJSONValue) as caught:
        device_services.create_device(owner, name="new", metadata=metadata)
    assert caught.value.faults[0].pointer.startswith("/metadata")
    with pytest.raises(InvalidJSONValue):
        device_services.update_device(device, metadata=metadata)
    assert Device.objects.get().metadata == {}


def test_a_change_writes_only_the_given_fields(device):
    other_instance = Device.objects.get(pk=device.pk)
    device_services.update_device(device, name="shed", metadata={"a": 1})
    device_services.update_device(other_instance, expected_interval=5)
    device.refresh_from_db()
    assert (device.name, device.metadata, device.expected_interval) == ("shed", {"a": 1}, 5)
    assert device.updated_at > device.created_at


@pytest.mark.parametrize(
    ("fields", "constraint"),
    [
        ({"name": ""}, "devices_name_not_empty"),
        ({"status": "asleep"}, "devices_status_known"),
        ({"expected_interval": 0}, "devices_expected_interval_in_range"),
        ({"expected_interval": 2_592_001}, "devices_expected_interval_in_range"),
    ],
)
def test_the_database_rejects_an_invalid_device(device, fields, constraint):
    with pytest.raises(IntegrityError, match=constraint):
        Device.objects.filter(pk=device.pk).update(**fields)


def test_the_database_rejects_a_device_token_that_is_not_hashed(device):
    with pytest.raises(IntegrityError, match="devicetoken_token_hash_is_sha256"):
        DeviceToken.objects.create(device=device, token_hash=b"short")


def test_a_device_has_at_most_ten_active_tokens(device):
    issued = [device_services.issue_token(device)[0] for _ in range(LIMIT)]
    with pytest.raises(device_services.TooManyTokens):
        device_services.issue_token(device)
    DeviceToken.objects.filter(pk=issued[0].pk).update(revoked=True)
    assert device_services.issue_token(device)


@pytest.mark.django_db(transaction=True)
def test_concurrent_requests_issue_no_more_than_ten_tokens():
    device = DeviceFactory.create()
    outcomes = run_concurrently(*[lambda: device_services.issue_token(device)] * (LIMIT + 5))
    errors = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    assert [type(error) for error in errors] == [device_services.TooManyTokens] * 5
    assert device.tokens.count() == LIMIT


@pytest.mark.parametrize(
    ("used", "unused"),
    [(timedelta(days=91), True), (timedelta(days=89), False), (None, True)],
)
def test_a_token_is_unused_after_ninety_days(device, used, unused):
    token, _ = device_token_and_row(device)
    last_used = NOW - used if used else None
    created = NOW - timedelta(days=100)
    DeviceToken.objects.update(last_used_at=last_used, created_at=created)
    assert DeviceToken.objects.unused(NOW).filter(pk=token.pk).exists() == unused
    assert DeviceToken.objects.annotate_unused(NOW).get().is_unused == unused


def test_a_decommissioned_device_is_rejected_and_not_visible(owner, device):
    secret = device_token(device)
    assert is_accepted(secret)
    device_services.soft_delete(device, now=NOW)
    assert not is_accepted(secret)
    assert device.tokens.get().revoked
    assert not Device.objects.visible_to(owner).exists()
    device.refresh_from_db()
    assert device.deleted_at == NOW


def test_a_token_issued_after_decommissioning_is_rejected(device):
    device_services.soft_delete(device, now=NOW)
    with pytest.raises(Device.DoesNotExist):
        device_token(device)


def test_decommissioning_twice_keeps_the_first_time(device):
    device_services.soft_delete(device, now=NOW)
    device_services.soft_delete(device, now=NOW.replace(year=2030))
    device.refresh_from_db()
    assert device.deleted_at == NOW


def test_only_a_decommissioned_device_can_be_deleted(device):
    device_services.hard_delete(device)
    assert Device.objects.exists()
    device_services.soft_delete(device, now=NOW)
    device_services.hard_delete(device)
    assert not Device.objects.exists()
    assert not DeviceToken.objects.exists()


@pytest.mark.parametrize("fields", [{"revoked": True}, {"expires_at": NOW}])
def test_a_revoked_or_expired_token_is_rejected(device, fields):
    token, secret = device_token_and_row(device)
    DeviceToken.objects.filter(pk=token.pk).update(**fields)
    assert not is_accepted(secret)


def test_the_devices_of_a_deactivated_user_are_rejected(owner, device):
    secret = device_token(device)
    owner.is_active = False
    owner.save()
    assert not is_accepted(secret)


def test_devices_are_visible_only_to_their_owner(owner, stranger, device):
    assert list(Device.objects.visible_to(owner)) == [device]
    assert not Device.objects.visible_to(stranger).exists()
    assert not Device.objects.visible_to(UserFactory.create(is_superuser=True)).exists()


def test_a_device_that_was_deleted_concurrently_cannot_be_changed(device):
    stale = Device.objects.get(pk=device.pk)
    device_services.soft_delete(device, now=NOW)
    with pytest.raises(Device.DoesNotExist):
        device_services.update_device(stale, name="again")


def test_a_request_sets_last_used_at_of_its_token(device):
    token, secret = device_token_and_row(device)
    Api(secret).get("/api/v1/device")
    token.refresh_from_db()
    assert token.last_used_at is not None
