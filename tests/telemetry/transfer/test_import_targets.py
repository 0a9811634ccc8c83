"""The device and the owner that the import command chooses."""

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


def test_a_file_is_imported_into_a_new_device_with_its_name(owner: User, tmp_path: Path) -> None:
    run = Run(write(tmp_path, office(), "datatraining.txt"))

    device = Device.objects.get()
    assert (device.user, device.name, device.expected_interval) == (owner, "datatraining", 60)
    assert device.metadata == {"imported_from": "datatraining.txt"}
    assert run.error == ""
    assert run.out.splitlines() == [
        "datatraining.txt: 3 stored, 0 already stored, 0 rejected",
        f"  into the new device datatraining ({device.pk})",
        "  type measurement, time column 'date', UTC if it has no offset",
        "  skipped the unnamed first column (row number)",
    ]


def test_an_import_does_not_update_last_seen(device: Device, tmp_path: Path) -> None:
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


def test_a_device_of_another_user_and_a_deleted_device_are_not_used(
    owner: User, stranger: User, tmp_path: Path
) -> None:
    theirs = DeviceFactory.create(user=stranger, name="office")
    gone = DeviceFactory.create(user=owner, name="office")
    device_services.soft_delete(gone, now=NOW)

    assert "into the new device office" in Run(write(tmp_path, office()), owner="owner").out
    assert not theirs.readings.exists()
    assert not gone.readings.exists()


def test_an_unknown_id_does_not_become_the_name_of_a_new_device(
    owner: User, stranger: User, tmp_path: Path
) -> None:
    unknown, theirs = str(uuid4()), str(DeviceFactory.create(user=stranger).pk)

    for device in (unknown, theirs):
        run = Run(write(tmp_path, office()), owner="owner", device=device)
        assert f"owner has no device {device}." in run.err
        assert run.error == f"Not imported in full: {write(tmp_path, office())}"
    assert not owner.devices.exists()


def test_a_name_of_several_devices_is_rejected_with_their_ids(owner: User, tmp_path: Path) -> None:
    devices = [DeviceFactory.create(user=owner, name="office") for _ in range(2)]

    run = Run(write(tmp_path, office()))

    assert run.error
    assert all(str(device.pk) in run.err for device in devices)
    assert not Telemetry.objects.exists()


def test_an_invalid_device_name_is_rejected(owner: User, tmp_path: Path) -> None:
    run = Run(write(tmp_path, office()), device="x" * 201)

    assert "at most 200 characters" in run.err
    assert run.error


def test_a_file_name_that_is_not_utf_8_is_stored_with_replacement_characters(
    owner: User, tmp_path: Path
) -> None:
    run = Run(write(tmp_path, office(), "b\udcfcro.csv"))

    assert "b\ufffdro.csv: 3 stored" in run.out
    device = Device.objects.get()
    assert device.name == "b\ufffdro"
    assert device.metadata == {"imported_from": "b\ufffdro.csv"}


def test_the_interval_is_limited_to_the_maximum_of_a_device(owner: User, tmp_path: Path) -> None:
    Run(write(tmp_path, "time,a\n2024-01-01 00:00,5\n2024-12-01 00:00,6\n"))

    assert Device.objects.get().expected_interval == 30 * 24 * 3600


def test_with_a_single_time_the_interval_is_the_default(owner: User, tmp_path: Path) -> None:
    Run(write(tmp_path, office(1)))

    assert Device.objects.get().expected_interval == 60


def test_a_device_deleted_during_the_import_ends_the_import_of_its_file(
    owner: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = Device(user=owner, name="gone")
    monkeypatch.setattr(import_readings, "find_or_register", lambda *given: (gone, False))

    run = Run(write(tmp_path, office()))

    assert "office.csv: The device was deleted during the import." in run.err
    assert run.error


@pytest.mark.django_db
def test_the_default_owner_is_the_only_administrator(tmp_path: Path) -> None:
    UserFactory.create(username="ben")
    ada = StaffFactory.create(username="ada")

    Run(write(tmp_path, office()))

    assert Device.objects.get().user == ada


@pytest.mark.django_db
def test_without_an_administrator_the_default_owner_is_the_only_user(tmp_path: Path) -> None:
    ben = UserFactory.create(username="ben")

    Run(write(tmp_path, office()))

    assert Device.objects.get().user == ben


@pytest.mark.django_db
def test_with_several_possible_owners_the_option_is_required(tmp_path: Path) -> None:
    assert Run(write(tmp_path, office())).error == "There is no user yet to own a device."

    for name in ("ben", "ada"):
        UserFactory.create(username=name)
    question = "Several users exist; choose one with --owner: "
    assert Run(write(tmp_path, office())).error == question + "ada, ben"

    for name in ("eve", "dan"):
        StaffFactory.create(username=name)
    assert Run(write(tmp_path, office())).error == question + "dan, eve"

    Run(write(tmp_path, office()), owner="ben")
    assert Device.objects.get().user.username == "ben"
