from pathlib import Path
from uuid import uuid4

import pytest

from accounts.models import User
from devices import services as device_services
from devices.models import Device
from telemetry.management.commands import import_readings
from telemetry.models import Telemetry
from tests.factories import NOW, DeviceFactory, StaffFactory, UserFactory
from tests.telemetry.import_runs import Run, office, write


def test_a_file_goes_into_a_new_device_named_after_it(owner: User, tmp_path: Path) -> None:
    run = Run(write(tmp_path, office(), "datatraining.txt"))

    device = Device.objects.get()
    assert (device.user, device.name, device.expected_interval) == (owner, "datatraining", 60)
    assert device.metadata == {"imported_from": "datatraining.txt"}
    assert run.error == ""
    assert run.out.splitlines() == [
        "datatraining.txt: 3 stored, 0 already there, 0 refused",
        f"  into the new device datatraining ({device.pk})",
        "  as measurement, timed by 'date', in UTC where it has no offset",
        "  without the first column, a running number that has no name",
    ]


def test_an_import_is_no_contact_with_the_device(device: Device, tmp_path: Path) -> None:
    Run(write(tmp_path, office()), device="greenhouse")

    device.refresh_from_db()
    assert Telemetry.objects.count() == 3
    assert (device.last_seen_at, device.status) == (None, "offline")


def test_a_device_is_found_by_its_id_or_its_exact_name(device: Device, tmp_path: Path) -> None:
    Run(write(tmp_path, office(2)), device=str(device.pk))
    Run(write(tmp_path, office(3)), device="greenhouse")
    Run(write(tmp_path, office(3)), device="Greenhouse")

    assert device.readings.count() == 3
    assert set(Device.objects.values_list("name", flat=True)) == {"greenhouse", "Greenhouse"}


def test_the_device_of_a_stranger_or_one_that_is_gone_is_not_used(
    owner: User, stranger: User, tmp_path: Path
) -> None:
    theirs = DeviceFactory.create(user=stranger, name="office")
    gone = DeviceFactory.create(user=owner, name="office")
    device_services.soft_delete(gone, now=NOW)

    assert "into the new device office" in Run(write(tmp_path, office()), owner="owner").out
    assert not theirs.readings.exists()
    assert not gone.readings.exists()


def test_an_id_is_never_the_name_of_a_new_device(
    owner: User, stranger: User, tmp_path: Path
) -> None:
    unknown, theirs = str(uuid4()), str(DeviceFactory.create(user=stranger).pk)

    for device in (unknown, theirs):
        run = Run(write(tmp_path, office()), owner="owner", device=device)
        assert f"owner has no device {device}." in run.err
        assert run.error == f"Not imported in full: {write(tmp_path, office())}"
    assert not owner.devices.exists()


def test_a_name_of_several_devices_is_refused_with_their_ids(owner: User, tmp_path: Path) -> None:
    devices = [DeviceFactory.create(user=owner, name="office") for _ in range(2)]

    run = Run(write(tmp_path, office()))

    assert run.error
    assert all(str(device.pk) in run.err for device in devices)
    assert not Telemetry.objects.exists()


def test_a_name_no_device_can_have_is_refused(owner: User, tmp_path: Path) -> None:
    run = Run(write(tmp_path, office()), device="x" * 201)

    assert "at most 200 characters" in run.err
    assert run.error


def test_a_file_name_that_is_no_text_is_stored_as_one(owner: User, tmp_path: Path) -> None:
    run = Run(write(tmp_path, office(), "b\udcfcro.csv"))

    assert "b\ufffdro.csv: 3 stored" in run.out
    device = Device.objects.get()
    assert device.name == "b\ufffdro"
    assert device.metadata == {"imported_from": "b\ufffdro.csv"}


def test_the_longest_interval_is_that_of_a_device(owner: User, tmp_path: Path) -> None:
    Run(write(tmp_path, "time,a\n2024-01-01 00:00,5\n2024-12-01 00:00,6\n"))

    assert Device.objects.get().expected_interval == 30 * 24 * 3600


def test_one_time_alone_leaves_the_interval_at_its_default(owner: User, tmp_path: Path) -> None:
    Run(write(tmp_path, office(1)))

    assert Device.objects.get().expected_interval == 60


def test_a_device_deleted_meanwhile_ends_the_import_of_its_file(
    owner: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = Device(user=owner, name="gone")
    monkeypatch.setattr(import_readings, "find_or_register", lambda *given: (gone, False))

    run = Run(write(tmp_path, office()))

    assert "office.csv: The device was deleted meanwhile." in run.err
    assert run.error


@pytest.mark.django_db
def test_without_a_name_the_owner_is_the_only_administrator(tmp_path: Path) -> None:
    UserFactory.create(username="ben")
    ada = StaffFactory.create(username="ada")

    Run(write(tmp_path, office()))

    assert Device.objects.get().user == ada


@pytest.mark.django_db
def test_without_an_administrator_the_owner_is_the_only_user(tmp_path: Path) -> None:
    ben = UserFactory.create(username="ben")

    Run(write(tmp_path, office()))

    assert Device.objects.get().user == ben


@pytest.mark.django_db
def test_who_the_owner_is_must_be_said_where_it_can_be_several(tmp_path: Path) -> None:
    assert Run(write(tmp_path, office())).error == "There is no user yet who could own a device."

    for name in ("ben", "ada"):
        UserFactory.create(username=name)
    question = "Say with --owner whose device it is; there are: "
    assert Run(write(tmp_path, office())).error == question + "ada, ben"

    for name in ("eve", "dan"):
        StaffFactory.create(username=name)
    assert Run(write(tmp_path, office())).error == question + "dan, eve"

    Run(write(tmp_path, office()), owner="ben")
    assert Device.objects.get().user.username == "ben"
