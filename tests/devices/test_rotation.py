"""Rotation of device tokens."""

from datetime import timedelta

import pytest
from django.conf import settings
from django.utils import timezone

from accounts.models import active_tokens
from accounts.tokens.services import InvalidToken
from devices import services as device_services
from tests.concurrency import run_concurrently
from tests.conftest import Api
from tests.factories import NOW, DeviceFactory, device_token, device_token_and_row

LIMIT = settings.TOKENS_PER_DEVICE


def is_accepted(secret):
    return Api(secret).get("/api/v1/device").status_code == 200


GRACE = device_services.ROTATION_GRACE


def rotate(device, now=NOW):
    return device_services.rotate_token(device, now=now)


def tokens_of(device, now=NOW):
    return set(device.tokens.filter(active_tokens(now)))


def test_rotation_revokes_all_tokens_except_the_one_in_use_and_the_new_one(device):
    old = [device_token(device) for _ in range(LIMIT)]
    assert is_accepted(old[3])
    new = device_services.rotate_token(device, now=timezone.now())[1].text
    assert [is_accepted(secret) for secret in old] == [number == 3 for number in range(LIMIT)]
    assert is_accepted(new)


def test_the_old_token_expires_some_time_after_the_first_use_of_the_new_one(device):
    old, _ = device_token_and_row(device)
    new, _ = rotate(device)
    later = NOW + timedelta(days=400)
    assert tokens_of(device, later) == {old, new}
    device_services.record_token_use(new, now=later)
    assert tokens_of(device, later + GRACE - timedelta(seconds=1)) == {old, new}
    assert tokens_of(device, later + GRACE) == {new}


def test_later_uses_of_the_new_token_do_not_extend_the_old_one(device):
    old, _ = device_token_and_row(device)
    new, _ = rotate(device)
    for minutes in (0, 30, 59):
        device_services.record_token_use(new, now=NOW + timedelta(minutes=minutes))
    # Another process has not read the first use and records its use as the first.
    new.last_used_at = None
    device_services.record_token_use(new, now=NOW + timedelta(minutes=59))
    old.refresh_from_db()
    assert old.expires_at == NOW + GRACE


def test_using_the_old_token_revokes_no_token(device):
    old, _ = device_token_and_row(device)
    new, _ = rotate(device)
    device_services.record_token_use(old, now=NOW)
    assert tokens_of(device, NOW + timedelta(days=400)) == {old, new}


def test_a_second_rotation_replaces_an_unused_new_token(device):
    old, _ = device_token_and_row(device)
    device_services.record_token_use(old, now=NOW)
    unused, _ = rotate(device)
    new, _ = rotate(device)
    assert tokens_of(device) == {old, new}
    device_services.record_token_use(new, now=NOW)
    assert tokens_of(device, NOW + GRACE) == {new}
    unused.refresh_from_db()
    assert unused.revoked


def test_rotating_an_unused_new_token_keeps_the_token_in_use(device):
    old, _ = device_token_and_row(device)
    unused, _ = device_services.rotate_one_token(old, now=NOW)
    new, _ = device_services.rotate_one_token(unused, now=NOW)
    assert tokens_of(device) == {old, new}


def test_rotation_keeps_the_first_token_of_a_device_that_was_never_seen(device):
    first, _ = device_token_and_row(device)
    rotate(device)
    new, _ = rotate(device)
    assert tokens_of(device) == {first, new}


def test_at_most_two_tokens_are_active_after_any_number_of_rotations(device):
    device_token(device)
    for number in range(LIMIT + 3):
        now = NOW + timedelta(minutes=number)
        new, _ = rotate(device, now)
        assert len(tokens_of(device, now)) == 2
        if number % 3:
            device_services.record_token_use(new, now=now)


def test_a_token_that_was_replaced_cannot_be_rotated_again(device):
    old, _ = device_token_and_row(device)
    new, _ = rotate(device)
    device_services.record_token_use(new, now=NOW)
    with pytest.raises(InvalidToken):
        device_services.rotate_one_token(old, now=NOW)
    assert tokens_of(device) == {old, new}


def test_rotating_one_token_keeps_the_other_tokens_of_the_device(device):
    other, _ = device_token_and_row(device)
    old, _ = device_token_and_row(device)
    new, _ = device_services.rotate_one_token(old, now=NOW)
    assert tokens_of(device) == {other, old, new}


def test_a_device_without_a_token_gets_one(device):
    new, _ = rotate(device)
    assert tokens_of(device) == {new}


def test_rotation_does_not_change_tokens_of_other_devices(device):
    other = device_token(DeviceFactory.create(user=device.user))
    rotate(device)
    assert is_accepted(other)


def test_only_the_first_use_of_a_token_takes_a_query_for_the_rotation(
    device, django_assert_num_queries
):
    token, _ = device_token_and_row(device)
    with django_assert_num_queries(2):
        device_services.record_token_use(token, now=NOW)
    with django_assert_num_queries(0):
        device_services.record_token_use(token, now=NOW + timedelta(minutes=10))
    with django_assert_num_queries(1):
        device_services.record_token_use(token, now=NOW + timedelta(minutes=11))


@pytest.mark.django_db(transaction=True)
def test_concurrent_rotations_leave_two_active_tokens():
    device = DeviceFactory.create()
    run_concurrently(*[lambda: rotate(device)] * 8)
    assert len(tokens_of(device)) == 2
