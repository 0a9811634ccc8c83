"""The command that imports readings."""

import os
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from accounts.models import User
from devices.models import Device
from telemetry.ingest import storage
from telemetry.models import Telemetry
from tests.telemetry.import_runs import START, Run, office, write


def test_a_row_is_one_reading_with_its_columns(owner: User, tmp_path: Path) -> None:
    Run(write(tmp_path, office(1)))

    reading = Telemetry.objects.get()
    assert reading.telemetry_type == "measurement"
    assert reading.recorded_at == START
    assert reading.payload == {
        "Temperature": 23,
        "Humidity": 27.272,
        "Light": 426,
        "CO2": 721.25,
        "HumidityRatio": 0.00479298817650529,
        "Occupancy": 0,
    }


def test_a_second_import_stores_nothing(owner: User, tmp_path: Path) -> None:
    path = write(tmp_path, office(2143))

    assert "2,143 stored, 0 already stored, 0 rejected" in Run(path).out
    again = Run(path)

    assert "0 stored, 2,143 already stored, 0 rejected" in again.out
    assert "into the device office" in again.out
    assert again.error == ""
    assert Telemetry.objects.count() == 2143
    assert Device.objects.count() == 1


def test_equal_rows_are_one_reading_and_different_rows_of_the_same_time_are_kept(
    owner: User, tmp_path: Path
) -> None:
    same = "2025-06-04 17:51,5\n"

    run = Run(write(tmp_path, "time,a\n" + same + same + "2025-06-04 17:51,6\n"))

    assert "2 stored, 1 already stored, 0 rejected" in run.out
    assert sorted(Telemetry.objects.values_list("payload__a", flat=True)) == [5, 6]


def test_the_row_number_is_not_part_of_the_reading(owner: User, tmp_path: Path) -> None:
    Run(write(tmp_path, office(3)))

    run = Run(write(tmp_path, office(4, first=100)))

    assert "1 stored, 3 already stored, 0 rejected" in run.out


def test_missing_partitions_are_created(owner: User, tmp_path: Path) -> None:
    Run(write(tmp_path, "time,a\n2003-01-31 23:59,5\n2003-02-01 00:00,6\n"))

    assert Telemetry.objects.count() == 2


def test_readings_are_stored_in_batches(
    owner: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []

    def store(device: Device, readings: Any, **given: Any) -> storage.StoreResult:
        sizes.append(len(readings))
        return storage.StoreResult(len(readings), 0)

    monkeypatch.setattr(storage, "store", store)
    run = Run(write(tmp_path, office(2143)))

    assert sizes == [1000, 1000, 143]
    assert "2,143 stored" in run.out


def test_in_debug_mode_the_query_log_does_not_grow(
    owner: User, tmp_path: Path, settings: Any
) -> None:
    settings.DEBUG = True

    Run(write(tmp_path, office(2143)))

    assert Telemetry.objects.count() == 2143
    assert len(connection.queries) < 5


def test_rejected_rows_are_listed_and_all_others_are_stored(owner: User, tmp_path: Path) -> None:
    skipped = "2025-03-30 02:30,5\n"
    path = write(tmp_path, "time,a\n2025-03-30 01:59,4\n" + skipped * 23 + "2025-03-30 03:00,6\n")

    run = Run(path, time_zone="Europe/Brussels")

    lines = run.out.splitlines()
    assert lines[0] == "office.csv: 2 stored, 0 already stored, 23 rejected"
    assert lines[3] == "  rejected line 3: time: The clocks in Europe/Brussels skipped this time."
    assert lines[22].startswith("  rejected line 22:")
    assert lines[23:] == ["  and 3 more"]
    assert run.error == f"Not imported in full: {path}"


def test_a_time_without_an_offset_is_in_the_given_zone(owner: User, tmp_path: Path) -> None:
    file = write(tmp_path, "time,a\n2025-06-04 17:51,5\n2025-06-04T17:51:00+00:00,6\n")

    Run(file, time_zone="Europe/Brussels")

    found = Telemetry.objects.order_by("recorded_at").values_list("recorded_at", flat=True)
    assert list(found) == [START - timedelta(hours=2), START]


def test_renamed_columns_are_printed(owner: User, tmp_path: Path) -> None:
    run = Run(write(tmp_path, "time,CO2 (ppm),note\n2025-06-04 17:51,721,x\n"))

    assert "  column 'CO2 (ppm)' is stored as CO2_ppm\n" in run.out
    assert "'note'" not in run.out
    assert Telemetry.objects.get().payload == {"CO2_ppm": 721, "note": "x"}


def test_type_time_column_and_delimiter_are_options(owner: User, tmp_path: Path) -> None:
    file = write(tmp_path, "time|seen\n2025-06-04 17:51|2025-06-04 17:52\n")

    Run(file, type="door", time_column="seen", delimiter="|")

    reading = Telemetry.objects.get()
    assert reading.telemetry_type == "door"
    assert reading.recorded_at == START + timedelta(minutes=1)
    assert reading.payload == {"time": "2025-06-04 17:51"}


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ({"type": "a.b"}, "--type must be 1 to 64"),
        ({"type": ""}, "--type must be 1 to 64"),
        ({"time_zone": "Europe/Bruxelles"}, "There is no time zone called 'Europe/Bruxelles'"),
        ({"delimiter": "::"}, "--delimiter must be one character"),
        ({"delimiter": '"'}, "--delimiter must be one character"),
        ({"owner": "unknown"}, "There is no user called 'unknown'"),
    ],
)
def test_an_invalid_option_stops_the_command_before_any_file_is_read(
    owner: User, tmp_path: Path, option: dict[str, str], reason: str
) -> None:
    run = Run(write(tmp_path, office()), **option)

    assert reason in run.error
    assert run.out == run.err == ""
    assert not Device.objects.exists()


def test_the_tab_has_several_spellings(owner: User, tmp_path: Path) -> None:
    for name in ("tab", "\\t", "\t"):
        run = Run(write(tmp_path, "time\ta,b\n2025-06-04 17:51\t5\n"), delimiter=name)
        assert run.error == ""


def test_a_dry_run_reads_everything_and_stores_nothing(owner: User, tmp_path: Path) -> None:
    run = Run(write(tmp_path, office(1500) + "1,noon,1,2,3,4,5,6\n"), dry_run=True)

    assert "office.csv: 1,500 can be stored (dry run), 0 already stored, 1 rejected\n" in run.out
    assert "into the new device office" in run.out
    assert "rejected line 1,502: date: 'noon' is not a time." in run.out
    assert run.error
    assert not Device.objects.exists()
    assert not Telemetry.objects.exists()


def test_a_dry_run_into_an_existing_device_stores_nothing(device: Device, tmp_path: Path) -> None:
    run = Run(write(tmp_path, office()), device="greenhouse", dry_run=True)

    assert "3 can be stored" in run.out
    assert run.error == ""
    assert not device.readings.exists()


def test_rows_before_an_invalid_byte_are_stored(owner: User, tmp_path: Path) -> None:
    content = office(1500).encode()

    run = Run(write(tmp_path, content + b'"1501","\xff\n'))

    assert "1,500 stored, 0 already stored, 0 rejected" in run.out
    assert (
        f"  the rest of the file was not read: Not UTF-8 at byte {len(content) + 8:,}.\n" in run.out
    )
    assert run.error
    assert Telemetry.objects.count() == 1500


def test_an_unreadable_file_creates_no_device_and_does_not_stop_the_others(
    owner: User, tmp_path: Path
) -> None:
    latin = write(tmp_path, "time,Wärme\n2025-06-04 17:51,5\n".encode("latin-1"), "latin.csv")
    missing = tmp_path / "missing.csv"
    good = write(tmp_path, office(), "good.csv")

    run = Run(latin, missing, tmp_path, good)

    assert "latin.csv: Not UTF-8 at byte 6." in run.err
    assert "missing.csv: No such file" in run.err
    assert f"{tmp_path.name}: Is a directory" in run.err
    assert "good.csv: 3 stored" in run.out
    assert run.error == f"Not imported in full: {latin}, {missing}, {tmp_path}"
    assert [device.name for device in Device.objects.all()] == ["good"]


def test_a_pipe_is_rejected_because_it_cannot_be_read_twice(owner: User, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    # The pipe is also open for writing, so that opening it for reading does not block.
    held = os.open(tmp_path / "pipe.csv", os.O_RDWR)
    try:
        assert "pipe.csv: File or stream is not seekable." in Run(tmp_path / "pipe.csv").err
    finally:
        os.close(held)


def test_without_a_terminal_progress_is_printed_in_lines(owner: User, tmp_path: Path) -> None:
    path = write(tmp_path, office(1500))

    run = Run(path)

    lines = run.err.splitlines()
    assert len(lines) >= 2
    assert "\r" not in run.err
    assert lines[0].startswith("office.csv:   0%|")
    assert lines[-1].startswith("office.csv: 100%|")
    assert f"{path.stat().st_size / 1000:.0f}k/" in lines[-1]


def test_on_a_terminal_progress_is_a_bar_even_without_a_known_width(
    owner: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = os.openpty()
    with open(theirs, "w") as terminal:
        monkeypatch.setattr("sys.stderr", terminal)
        Run(write(tmp_path, office(1500)), stderr=terminal)
    monkeypatch.undo()
    shown = ""
    with (
        open(ours, "rb", buffering=0) as drawn,
        suppress(OSError),
    ):  # reading a closed terminal ends in an error
        while piece := drawn.read(65_536):
            shown += piece.decode()

    assert "\roffice.csv: 100%|" in shown
    assert all(len(state) < 80 for state in shown.split("\r"))


def test_a_time_in_the_future_is_rejected(owner: User, tmp_path: Path) -> None:
    ahead = timezone.now() + timedelta(days=2)

    run = Run(write(tmp_path, f"time,a\n2025-06-04 17:51,5\n{ahead.isoformat()},6\n"))

    assert "1 stored, 0 already stored, 1 rejected" in run.out
    assert "rejected line 3: recorded_at: Must be between 2000 and now" in run.out
