"""The page of all tokens."""

import re
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import Token, User
from devices.models import Device, DeviceToken
from tests.conftest import Api
from tests.factories import DeviceFactory, device_token_and_row, user_token_and_row

LABEL = "Backup on the NAS"


def secret_in(page: bytes, prefix: str) -> str:
    found = set(re.findall(rf"{prefix}_[0-9A-Za-z]{{49}}", page.decode()))
    assert len(found) == 1
    return str(found.pop())


def test_a_new_token_is_displayed_once_and_works(owner_client: Client, db: None) -> None:
    form = {"label": LABEL, "access": "read", "days": "30"}
    answer = owner_client.post("/tokens/new", form)
    api = Api(secret_in(answer.content, "tsu"))
    assert api.get("/api/v1/devices").status_code == 200
    assert api.post("/api/v1/devices", {"name": "x"}).status_code == 403
    page = owner_client.get("/tokens").content.decode()
    assert LABEL in page
    assert "Read only" in page
    assert not re.search(r"tsu_[0-9A-Za-z]{49}", page)
    life = Token.objects.get().expires_at - timezone.now()  # type: ignore[operator]
    assert timedelta(days=29) < life < timedelta(days=31)


@pytest.mark.parametrize("form", [{}, {"label": "x", "access": "root", "days": "30"}])
def test_an_invalid_form_creates_no_token(owner_client: Client, form: dict[str, str]) -> None:
    assert owner_client.post("/tokens/new", form).status_code == 422
    assert not Token.objects.exists()


def test_a_token_is_revoked_after_a_confirmation(owner: User, owner_client: Client) -> None:
    token, secret = user_token_and_row(owner)
    path = f"/tokens/{token.pk}/revoke"
    assert b"Revoke this token?" in owner_client.get(path).content
    assert Api(secret).get("/api/v1/devices").status_code == 200
    assert owner_client.post(path).headers["Location"] == "/tokens"
    assert Api(secret).get("/api/v1/devices").status_code == 401
    assert token.prefix not in owner_client.get("/tokens").content.decode()


def test_a_rotated_token_is_replaced_by_one_with_the_same_label_and_access(
    owner: User, owner_client: Client
) -> None:
    token, secret = user_token_and_row(owner)
    Token.objects.update(label=LABEL, access="read")
    path = f"/tokens/{token.pk}/rotate"
    assert b"Rotate this token?" in owner_client.get(path).content
    new = secret_in(owner_client.post(path).content, "tsu")
    assert Api(secret).get("/api/v1/devices").status_code == 401
    assert Api(new).get("/api/v1/devices").status_code == 200
    made = Token.objects.get(revoked=False)
    assert (made.label, made.access) == (LABEL, "read")
    assert owner_client.post(path).status_code == 404


def test_the_old_token_of_a_device_works_after_a_rotation_for_the_grace_period(
    device: Device, owner_client: Client
) -> None:
    token, secret = device_token_and_row(device)
    path = f"/devices/{device.pk}/tokens/{token.pk}/rotate"
    assert b"until 60 minutes after the new token is first used" in owner_client.get(path).content
    new = secret_in(owner_client.post(path).content, "tsd")
    assert "Being replaced" in owner_client.get("/tokens").content.decode()
    for text in (secret, new):
        assert Api(text).get("/api/v1/device").status_code == 200
    assert owner_client.post(path).status_code == 404
    assert path not in owner_client.get("/tokens").content.decode()


def test_a_revoked_token_of_a_device_is_rejected_immediately(
    device: Device, owner_client: Client
) -> None:
    token, secret = device_token_and_row(device)
    owner_client.post(f"/devices/{device.pk}/tokens/{token.pk}/revoke")
    assert Api(secret).get("/api/v1/device").status_code == 401


def test_a_device_has_at_most_ten_tokens(device: Device, owner_client: Client) -> None:
    path = f"/devices/{device.pk}/tokens/new"
    for _ in range(10):
        answer = owner_client.post(path, {"label": "second program"})
        assert Api(secret_in(answer.content, "tsd")).get("/api/v1/device").status_code == 200
    answer = owner_client.post(path, {"label": "one more"})
    assert answer.status_code == 422
    assert b"too many tokens" in answer.content
    assert device.tokens.count() == 10


def test_each_device_has_a_page_of_its_tokens(
    owner: User, device: Device, owner_client: Client
) -> None:
    other, _ = device_token_and_row(DeviceFactory.create(user=owner))
    path = f"/devices/{device.pk}/tokens"
    assert "cannot send anything" in owner_client.get(path).content.decode()
    token, _ = device_token_and_row(device)
    page = owner_client.get(path).content.decode()
    assert token.prefix in page
    assert other.prefix not in page
    assert f"{path}/new" in page


def test_an_unused_token_shows_a_warning(device: Device, owner_client: Client) -> None:
    device_token_and_row(device)
    assert "nused" not in owner_client.get("/tokens").content.decode()
    DeviceToken.objects.update(created_at=timezone.now() - timedelta(days=91))
    page = owner_client.get("/tokens").content.decode()
    assert "1 device token has not been used for 90 days" in page
    assert "Unused for 90 days" in page


@pytest.mark.parametrize("act", ["rotate", "revoke"])
def test_another_user_gets_404_and_sees_no_token(
    owner: User, device: Device, stranger: User, stranger_client: Client, act: str
) -> None:
    own, _ = user_token_and_row(owner)
    of_device, _ = device_token_and_row(device)
    hers = DeviceFactory.create(user=stranger)
    for path in (
        f"/tokens/{own.pk}/{act}",
        f"/devices/{device.pk}/tokens/{of_device.pk}/{act}",
        f"/devices/{hers.pk}/tokens/{of_device.pk}/{act}",
    ):
        assert stranger_client.get(path).status_code == 404
        assert stranger_client.post(path).status_code == 404
    assert stranger_client.post(f"/devices/{device.pk}/tokens/new").status_code == 404
    assert stranger_client.get(f"/devices/{device.pk}/tokens").status_code == 404
    page = stranger_client.get("/tokens").content.decode()
    assert own.prefix not in page
    assert of_device.prefix not in page
    assert Token.objects.filter(revoked=True).count() == 0
    assert DeviceToken.objects.filter(revoked=True).count() == 0


def test_tokens_of_many_devices_take_few_queries(
    owner: User, owner_client: Client, django_assert_max_num_queries: object
) -> None:
    devices = DeviceFactory.create_batch(3, user=owner)
    for device in devices:
        device_token_and_row(device)
    from telemetry_site.dashboard import token_pages

    assert token_pages.DEVICE_TOKENS_PER_PAGE == 100
    with django_assert_max_num_queries(7):  # type: ignore[operator]
        owner_client.get("/tokens")


@pytest.mark.parametrize("path", ["/tokens", "/tokens/new"])
def test_without_a_session_the_page_redirects_to_the_login(
    client: Client, db: None, path: str
) -> None:
    assert client.get(path).headers["Location"].startswith("/sign-in?next=")


def test_tokens_of_the_user_are_paged_with_the_newest_first(
    owner: User, owner_client: Client
) -> None:
    made = [user_token_and_row(owner)[0] for _ in range(51)]
    first = owner_client.get("/tokens").content.decode()
    second = owner_client.get("/tokens?own=2").content.decode()
    assert "own=2" in first
    assert f"/tokens/{made[50].pk}/revoke" in first
    assert f"/tokens/{made[0].pk}/revoke" not in first
    assert f"/tokens/{made[0].pk}/revoke" in second
    assert first.count("/revoke") + second.count("/revoke") == 51
