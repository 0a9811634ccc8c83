"""The first start of a new installation."""

import stat
from datetime import datetime
from pathlib import Path

import pytest
from django.test import Client

from accounts.models import User
from devices.models import Device
from telemetry_site.operations import first_start
from tests.conftest import Api

pytestmark = pytest.mark.django_db


def test_the_first_start_creates_a_superuser_without_a_password(
    tmp_path: Path, now: datetime
) -> None:
    first_start.bootstrap(data_dir=tmp_path, now=now)
    administrator = User.objects.get()
    assert administrator.is_superuser
    assert not administrator.has_usable_password()
    assert not Client().login(username="admin", password="")


def test_the_token_of_the_first_device_is_in_a_private_file(tmp_path: Path, now: datetime) -> None:
    first_start.bootstrap(data_dir=tmp_path, now=now)
    file = first_start.device_token_file(tmp_path)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    answer = Api(file.read_text()).get("/api/v1/device").json()
    assert answer["id"] == str(Device.objects.get().pk)


def test_a_second_start_creates_nothing(tmp_path: Path, now: datetime) -> None:
    first_start.bootstrap(data_dir=tmp_path, now=now)
    token = first_start.device_token_file(tmp_path).read_text()
    first_start.bootstrap(data_dir=tmp_path, now=now)
    assert User.objects.count() == Device.objects.count() == 1
    assert first_start.device_token_file(tmp_path).read_text() == token


def test_an_installation_with_users_gets_no_superuser(
    owner: User, tmp_path: Path, now: datetime
) -> None:
    first_start.bootstrap(data_dir=tmp_path, now=now)
    assert list(User.objects.all()) == [owner]


def test_a_sign_in_link_is_printed_until_the_superuser_has_a_password(
    tmp_path: Path, now: datetime
) -> None:
    first_start.bootstrap(data_dir=tmp_path, now=now)
    administrator = User.objects.get()
    assert first_start.admin_without_password() == administrator
    administrator.set_password("a long enough password")
    administrator.save()
    assert first_start.admin_without_password() is None


def test_without_a_superuser_no_sign_in_link_is_printed(owner: User) -> None:
    assert first_start.admin_without_password() is None
