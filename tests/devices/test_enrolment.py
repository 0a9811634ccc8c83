import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError

from accounts import secrets
from devices import enrolment
from devices.free_json import InvalidJSON
from devices.models import Device, DeviceToken
from tests.concurrency import at_once
from tests.conftest import Api
from tests.factories import NOW, DeviceFactory, UserFactory, device_token, device_token_and_row

LIMIT = enrolment.TOKENS_PER_DEVICE


def is_let_in(secret):
    return Api(secret).get("/api/v1/device").status_code == 200


def test_a_new_device_comes_with_a_token_that_works(owner):
    device, secret = enrolment.register(
        owner, name="greenhouse", metadata={"room": "north"}, expected_interval=10
    )
    device.refresh_from_db()
    assert (device.user, device.name, device.device_type) == (owner, "greenhouse", "generic")
    assert (device.status, device.last_seen_at) == ("offline", None)
    assert device.metadata == {"room": "north"}
    assert device.expected_interval == 10
    assert bytes(device.tokens.get().token_hash) == secret.digest
    assert secrets.parse(secret.text, "tsd") == secret
    assert is_let_in(secret.text)


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
def test_a_device_with_a_bad_field_is_neither_made_nor_changed(owner, device, fields):
    with pytest.raises(ValidationError) as caught:
        enrolment.register(owner, **{"name": "new", **fields})
    assert set(caught.value.error_dict) == set(fields)
    with pytest.raises(ValidationError):
        enrolment.change(device, **fields)
    assert Device.objects.values_list("name", "expected_interval").get() == ("greenhouse", 60)


@pytest.mark.parametrize("metadata", [{"a": "\0"}, [], None, {"a": "x" * 17_000}, {"a": 2**54}])
def test_a_device_with_bad_metadata_is_neither_made_nor_changed(owner, device, metadata):
    with pytest.raises(InvalidJSON) as caught:
        enrolment.register(owner, name="new", metadata=metadata)
    assert caught.value.faults[0].pointer.startswith("/metadata")
    with pytest.raises(InvalidJSON):
        enrolment.change(device, metadata=metadata)
    assert Device.objects.get().metadata == {}


def test_a_change_touches_what_it_names_and_nothing_else(device):
    same = Device.objects.get(pk=device.pk)
    enrolment.change(device, name="shed", metadata={"a": 1})
    enrolment.change(same, expected_interval=5)
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
def test_the_database_refuses_a_bad_device_whoever_writes(device, fields, constraint):
    with pytest.raises(IntegrityError, match=constraint):
        Device.objects.filter(pk=device.pk).update(**fields)


def test_the_database_refuses_a_device_token_that_is_no_hash(device):
    with pytest.raises(IntegrityError, match="devicetoken_token_hash_is_sha256"):
        DeviceToken.objects.create(device=device, token_hash=b"short")


def test_a_device_may_have_ten_living_tokens(device):
    issued = [enrolment.issue_token(device)[0] for _ in range(LIMIT)]
    with pytest.raises(enrolment.TooManyTokens):
        enrolment.issue_token(device)
    DeviceToken.objects.filter(pk=issued[0].pk).update(revoked=True)
    assert enrolment.issue_token(device)


@pytest.mark.django_db(transaction=True)
def test_even_at_once_a_device_gets_no_more_than_ten_tokens():
    device = DeviceFactory.create()
    outcomes = at_once(*[lambda: enrolment.issue_token(device)] * (LIMIT + 5))
    refused = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    assert [type(refusal) for refusal in refused] == [enrolment.TooManyTokens] * 5
    assert device.tokens.count() == LIMIT


def test_rotation_leaves_one_token_and_refuses_the_old_ones_at_once(device):
    old = [device_token(device) for _ in range(LIMIT)]
    assert is_let_in(old[0])
    new = enrolment.rotate_token(device)[1].text
    assert is_let_in(new)
    assert not any(map(is_let_in, old))
    assert device.tokens.filter(revoked=False).count() == 1


def test_rotation_leaves_other_devices_alone(device):
    other = device_token(DeviceFactory.create(user=device.user))
    enrolment.rotate_token(device)
    assert is_let_in(other)


def test_a_decommissioned_device_is_refused_at_once_and_seen_no_more(owner, device):
    secret = device_token(device)
    assert is_let_in(secret)
    enrolment.decommission(device, now=NOW)
    assert not is_let_in(secret)
    assert device.tokens.get().revoked
    assert not Device.objects.visible_to(owner).exists()
    device.refresh_from_db()
    assert device.deleted_at == NOW


def test_a_token_issued_after_the_end_opens_nothing(device):
    enrolment.decommission(device, now=NOW)
    assert not is_let_in(device_token(device))


def test_decommissioning_twice_keeps_the_first_time(device):
    enrolment.decommission(device, now=NOW)
    enrolment.decommission(device, now=NOW.replace(year=2030))
    device.refresh_from_db()
    assert device.deleted_at == NOW


def test_only_a_decommissioned_device_can_be_forgotten(device):
    enrolment.forget(device)
    assert Device.objects.exists()
    enrolment.decommission(device, now=NOW)
    enrolment.forget(device)
    assert not Device.objects.exists()
    assert not DeviceToken.objects.exists()


@pytest.mark.parametrize("fields", [{"revoked": True}, {"expires_at": NOW}])
def test_a_token_that_has_ended_is_refused(device, fields):
    token, secret = device_token_and_row(device)
    DeviceToken.objects.filter(pk=token.pk).update(**fields)
    assert not is_let_in(secret)


def test_the_devices_of_somebody_switched_off_are_refused(owner, device):
    secret = device_token(device)
    owner.is_active = False
    owner.save()
    assert not is_let_in(secret)


def test_nobody_sees_the_devices_of_another(owner, stranger, device):
    assert list(Device.objects.visible_to(owner)) == [device]
    assert not Device.objects.visible_to(stranger).exists()
    assert not Device.objects.visible_to(UserFactory.create(is_superuser=True)).exists()


def test_a_device_that_was_deleted_in_the_meantime_cannot_be_changed(device):
    stale = Device.objects.get(pk=device.pk)
    enrolment.decommission(device, now=NOW)
    with pytest.raises(Device.DoesNotExist):
        enrolment.change(stale, name="again")


@pytest.mark.django_db(transaction=True)
def test_of_many_rotations_at_once_one_token_is_left():
    device = DeviceFactory.create()
    at_once(*[lambda: enrolment.rotate_token(device)] * 8)
    assert device.tokens.filter(revoked=False).count() == 1


def test_the_use_of_a_token_is_noted(device):
    token, secret = device_token_and_row(device)
    Api(secret).get("/api/v1/device")
    token.refresh_from_db()
    assert token.last_used_at is not None
