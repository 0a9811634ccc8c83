from datetime import timedelta

import pytest
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import IntegrityError
from django.utils import timezone

from accounts.models import alive
from accounts.tokens import format as token_format
from accounts.tokens.services import InvalidToken
from common.strict_json import InvalidJSONValue
from devices import services as device_services
from devices.models import Device, DeviceToken
from tests.concurrency import at_once
from tests.conftest import Api
from tests.factories import NOW, DeviceFactory, UserFactory, device_token, device_token_and_row

LIMIT = settings.TOKENS_PER_DEVICE


def is_let_in(secret):
    return Api(secret).get("/api/v1/device").status_code == 200


def test_a_new_device_comes_with_a_token_that_works(owner):
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
        device_services.create_device(owner, **{"name": "new", **fields})
    assert set(caught.value.error_dict) == set(fields)
    with pytest.raises(ValidationError):
        device_services.update_device(device, **fields)
    assert Device.objects.values_list("name", "expected_interval").get() == ("greenhouse", 60)


@pytest.mark.parametrize("metadata", [{"a": "\0"}, [], None, {"a": "x" * 17_000}, {"a": 2**54}])
def test_a_device_with_bad_metadata_is_neither_made_nor_changed(owner, device, metadata):
    with pytest.raises(InvalidJSONValue) as caught:
        device_services.create_device(owner, name="new", metadata=metadata)
    assert caught.value.faults[0].pointer.startswith("/metadata")
    with pytest.raises(InvalidJSONValue):
        device_services.update_device(device, metadata=metadata)
    assert Device.objects.get().metadata == {}


def test_a_change_touches_what_it_names_and_nothing_else(device):
    same = Device.objects.get(pk=device.pk)
    device_services.update_device(device, name="shed", metadata={"a": 1})
    device_services.update_device(same, expected_interval=5)
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
    issued = [device_services.issue_token(device)[0] for _ in range(LIMIT)]
    with pytest.raises(device_services.TooManyTokens):
        device_services.issue_token(device)
    DeviceToken.objects.filter(pk=issued[0].pk).update(revoked=True)
    assert device_services.issue_token(device)


@pytest.mark.django_db(transaction=True)
def test_even_at_once_a_device_gets_no_more_than_ten_tokens():
    device = DeviceFactory.create()
    outcomes = at_once(*[lambda: device_services.issue_token(device)] * (LIMIT + 5))
    refused = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    assert [type(refusal) for refusal in refused] == [device_services.TooManyTokens] * 5
    assert device.tokens.count() == LIMIT


GRACE = device_services.ROTATION_GRACE


def rotate(device, now=NOW):
    return device_services.rotate_token(device, now=now)


def living(device, now=NOW):
    return set(device.tokens.filter(alive(now)))


def test_rotation_leaves_the_token_in_use_and_the_new_one(device):
    old = [device_token(device) for _ in range(LIMIT)]
    assert is_let_in(old[3])
    new = device_services.rotate_token(device, now=timezone.now())[1].text
    assert [is_let_in(secret) for secret in old] == [number == 3 for number in range(LIMIT)]
    assert is_let_in(new)


def test_the_old_token_lives_until_some_time_after_the_first_use_of_the_new(device):
    old, _ = device_token_and_row(device)
    new, _ = rotate(device)
    much_later = NOW + timedelta(days=400)
    assert living(device, much_later) == {old, new}
    device_services.record_token_use(new, now=much_later)
    assert living(device, much_later + GRACE - timedelta(seconds=1)) == {old, new}
    assert living(device, much_later + GRACE) == {new}


def test_further_uses_of_the_new_token_do_not_prolong_the_old(device):
    old, _ = device_token_and_row(device)
    new, _ = rotate(device)
    for minutes in (0, 30, 59):
        device_services.record_token_use(new, now=NOW + timedelta(minutes=minutes))
    # Another process, which has not heard of the first use, notes it as the first again.
    new.last_used_at = None
    device_services.record_token_use(new, now=NOW + timedelta(minutes=59))
    old.refresh_from_db()
    assert old.expires_at == NOW + GRACE


def test_a_use_of_the_old_token_ends_nothing(device):
    old, _ = device_token_and_row(device)
    new, _ = rotate(device)
    device_services.record_token_use(old, now=NOW)
    assert living(device, NOW + timedelta(days=400)) == {old, new}


def test_a_lost_new_token_is_replaced_and_the_one_in_use_stays(device):
    old, _ = device_token_and_row(device)
    device_services.record_token_use(old, now=NOW)
    lost, _ = rotate(device)
    new, _ = rotate(device)
    assert living(device) == {old, new}
    device_services.record_token_use(new, now=NOW)
    assert living(device, NOW + GRACE) == {new}
    lost.refresh_from_db()
    assert lost.revoked


def test_to_replace_the_new_one_before_its_first_use_leaves_the_one_in_use(device):
    old, _ = device_token_and_row(device)
    lost, _ = device_services.rotate_one_token(old, now=NOW)
    new, _ = device_services.rotate_one_token(lost, now=NOW)
    assert living(device) == {old, new}


def test_a_device_that_was_never_heard_of_keeps_the_token_it_came_with(device):
    first, _ = device_token_and_row(device)
    rotate(device)
    new, _ = rotate(device)
    assert living(device) == {first, new}


def test_two_tokens_live_at_most_however_often_it_is_rotated(device):
    device_token(device)
    for number in range(LIMIT + 3):
        now = NOW + timedelta(minutes=number)
        new, _ = rotate(device, now)
        assert len(living(device, now)) == 2
        if number % 3:
            device_services.record_token_use(new, now=now)


def test_a_token_that_is_ending_is_not_replaced_once_more(device):
    old, _ = device_token_and_row(device)
    new, _ = rotate(device)
    device_services.record_token_use(new, now=NOW)
    with pytest.raises(InvalidToken):
        device_services.rotate_one_token(old, now=NOW)
    assert living(device) == {old, new}


def test_to_replace_one_token_leaves_the_others_of_the_device(device):
    other, _ = device_token_and_row(device)
    old, _ = device_token_and_row(device)
    new, _ = device_services.rotate_one_token(old, now=NOW)
    assert living(device) == {other, old, new}


def test_a_device_without_a_token_gets_one(device):
    new, _ = rotate(device)
    assert living(device) == {new}


def test_rotation_leaves_other_devices_alone(device):
    other = device_token(DeviceFactory.create(user=device.user))
    rotate(device)
    assert is_let_in(other)


def test_a_request_costs_nothing_for_the_rotation_but_the_first_of_a_token(
    device, django_assert_num_queries
):
    token, _ = device_token_and_row(device)
    with django_assert_num_queries(2):
        device_services.record_token_use(token, now=NOW)
    with django_assert_num_queries(0):
        device_services.record_token_use(token, now=NOW + timedelta(minutes=10))
    with django_assert_num_queries(1):
        device_services.record_token_use(token, now=NOW + timedelta(minutes=11))


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
    assert DeviceToken.objects.with_use(NOW).get().is_unused == unused


def test_a_decommissioned_device_is_refused_at_once_and_seen_no_more(owner, device):
    secret = device_token(device)
    assert is_let_in(secret)
    device_services.soft_delete(device, now=NOW)
    assert not is_let_in(secret)
    assert device.tokens.get().revoked
    assert not Device.objects.visible_to(owner).exists()
    device.refresh_from_db()
    assert device.deleted_at == NOW


def test_a_token_issued_after_the_end_opens_nothing(device):
    device_services.soft_delete(device, now=NOW)
    assert not is_let_in(device_token(device))


def test_decommissioning_twice_keeps_the_first_time(device):
    device_services.soft_delete(device, now=NOW)
    device_services.soft_delete(device, now=NOW.replace(year=2030))
    device.refresh_from_db()
    assert device.deleted_at == NOW


def test_only_a_decommissioned_device_can_be_forgotten(device):
    device_services.hard_delete(device)
    assert Device.objects.exists()
    device_services.soft_delete(device, now=NOW)
    device_services.hard_delete(device)
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
    device_services.soft_delete(device, now=NOW)
    with pytest.raises(Device.DoesNotExist):
        device_services.update_device(stale, name="again")


@pytest.mark.django_db(transaction=True)
def test_of_many_rotations_at_once_two_tokens_are_left():
    device = DeviceFactory.create()
    at_once(*[lambda: rotate(device)] * 8)
    assert len(living(device)) == 2


def test_the_use_of_a_token_is_noted(device):
    token, secret = device_token_and_row(device)
    Api(secret).get("/api/v1/device")
    token.refresh_from_db()
    assert token.last_used_at is not None
