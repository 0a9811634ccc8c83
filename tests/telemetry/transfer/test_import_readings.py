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


def test_a_row_is_one_reading_that_holds_its_columns(owner: User, tmp_path: Path) -> None:
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

    assert "2,143 stored, 0 already there, 0 refused" in Run(path).out
    again = Run(path)

    assert "0 stored, 2,143 already there, 0 refused" in again.out
    assert "into the device office" in again.out
    assert again.error == ""
    assert Telemetry.objects.count() == 2143
    assert Device.objects.count() == 1


def test_rows_all_alike_are_one_and_others_of_the_same_instant_are_kept(
    owner: User, tmp_path: Path
) -> None:
    same = "2025-06-04 17:51,5\n"

    run = Run(write(tmp_path, "time,a\n" + same + same + "2025-06-04 17:51,6\n"))

    assert "2 stored, 1 already there, 0 refused" in run.out
    assert sorted(Telemetry.objects.values_list("payload__a", flat=True)) == [5, 6]


def test_the_running_number_is_no_part_of_what_a_row_says(owner: User, tmp_path: Path) -> None:
    Run(write(tmp_path, office(3)))

    run = Run(write(tmp_path, office(4, first=100)))

    assert "1 stored, 3 already there, 0 refused" in run.out


def test_months_that_nothing_was_stored_in_are_made(owner: User, tmp_path: Path) -> None:
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


def test_statements_do_not_pile_up_where_django_keeps_them(
    owner: User, tmp_path: Path, settings: Any
) -> None:
    settings.DEBUG = True

    Run(write(tmp_path, office(2143)))

    assert Telemetry.objects.count() == 2143
    assert len(connection.queries) < 5


def test_refused_rows_are_named_and_all_others_stored(owner: User, tmp_path: Path) -> None:
    skipped = "2025-03-30 02:30,5\n"
    path = write(tmp_path, "time,a\n2025-03-30 01:59,4\n" + skipped * 23 + "2025-03-30 03:00,6\n")

    run = Run(path, time_zone="Europe/Brussels")

    lines = run.out.splitlines()
    assert lines[0] == "office.csv: 2 stored, 0 already there, 23 refused"
    assert lines[3] == "  refused line 3: time: The clocks in Europe/Brussels skipped this time."
    assert lines[22].startswith("  refused line 22:")
    assert lines[23:] == ["  and 3 more"]
    assert run.error == f"Not imported in full: {path}"


def test_the_time_zone_is_that_of_times_without_an_offset(owner: User, tmp_path: Path) -> None:
    file = write(tmp_path, "time,a\n2025-06-04 17:51,5\n2025-06-04T17:51:00+00:00,6\n")

    Run(file, time_zone="Europe/Brussels")

    found = Telemetry.objects.order_by("recorded_at").values_list("recorded_at", flat=True)
    assert list(found) == [START - timedelta(hours=2), START]


def test_renamed_columns_are_told(owner: User, tmp_path: Path) -> None:
    run = Run(write(tmp_path, "time,CO2 (ppm),note\n2025-06-04 17:51,721,x\n"))

    assert "  with 'CO2 (ppm)' as CO2_ppm\n" in run.out
    assert "'note'" not in run.out
    assert Telemetry.objects.get().payload == {"CO2_ppm": 721, "note": "x"}


def test_type_time_column_and_delimiter_can_be_named(owner: User, tmp_path: Path) -> None:
    file = write(tmp_path, "time|seen\n2025-06-04 17:51|2025-06-04 17:52\n")

    Run(file, type="door", time_column="seen", delimiter="|")

    reading = Telemetry.objects.get()
    assert reading.telemetry_type == "door"
    assert reading.recorded_at == START + timedelta(minutes=1)
    assert reading.payload == {"time": "2025-06-04 17:51"}


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ({"type": "a.b"}, "--type takes 1 to 64"),
        ({"type": ""}, "--type takes 1 to 64"),
        ({"time_zone": "Europe/Bruxelles"}, "There is no time zone called 'Europe/Bruxelles'"),
        ({"delimiter": "::"}, "--delimiter takes one character"),
        ({"delimiter": '"'}, "--delimiter takes one character"),
        ({"owner": "nobody"}, "There is no user called 'nobody'"),
    ],
)
def test_a_wrong_option_stops_it_before_anything_is_read(
    owner: User, tmp_path: Path, option: dict[str, str], reason: str
) -> None:
    run = Run(write(tmp_path, office()), **option)

    assert reason in run.error
    assert run.out == run.err == ""
    assert not Device.objects.exists()


def test_the_tab_has_a_name(owner: User, tmp_path: Path) -> None:
    for name in ("tab", "\\t", "\t"):
        run = Run(write(tmp_path, "time\ta,b\n2025-06-04 17:51\t5\n"), delimiter=name)
        assert run.error == ""


def test_a_dry_run_reads_all_and_stores_nothing(owner: User, tmp_path: Path) -> None:
    run = Run(write(tmp_path, office(1500) + "1,noon,1,2,3,4,5,6\n"), dry_run=True)

    assert (
        "office.csv: 1,500 can be stored, none is (dry run), 0 already there, 1 refused\n"
        in run.out
    )
    assert "into the new device office" in run.out
    assert "refused line 1,502: date: 'noon' is not a time." in run.out
    assert run.error
    assert not Device.objects.exists()
    assert not Telemetry.objects.exists()


def test_a_dry_run_into_a_device_that_is_there_stores_nothing(
    device: Device, tmp_path: Path
) -> None:
    run = Run(write(tmp_path, office()), device="greenhouse", dry_run=True)

    assert "3 can be stored" in run.out
    assert run.error == ""
    assert not device.readings.exists()


def test_what_was_read_before_a_broken_byte_is_stored(owner: User, tmp_path: Path) -> None:
    content = office(1500).encode()

    run = Run(write(tmp_path, content + b'"1501","\xff\n'))

    assert "1,500 stored, 0 already there, 0 refused" in run.out
    assert f"  not read to its end: Not UTF-8 at byte {len(content) + 8:,}.\n" in run.out
    assert run.error
    assert Telemetry.objects.count() == 1500


def test_a_file_that_cannot_be_read_makes_no_device_and_stops_no_other(
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


def test_a_pipe_cannot_be_read_twice_and_is_refused(owner: User, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    # Held open for writing too, so that whoever reads it does not wait for a writer.
    held = os.open(tmp_path / "pipe.csv", os.O_RDWR)
    try:
        assert "pipe.csv: File or stream is not seekable." in Run(tmp_path / "pipe.csv").err
    finally:
        os.close(held)


def test_progress_is_told_in_lines_where_there_is_no_terminal(owner: User, tmp_path: Path) -> None:
    path = write(tmp_path, office(1500))

    run = Run(path)

    lines = run.err.splitlines()
    assert len(lines) >= 2
    assert "\r" not in run.err
    assert lines[0].startswith("office.csv:   0%|")
    assert lines[-1].startswith("office.csv: 100%|")
    assert f"{path.stat().st_size / 1000:.0f}k/" in lines[-1]


def test_progress_is_a_bar_on_a_terminal_even_one_without_a_size(
    owner: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = os.openpty()
    with open(theirs, "w") as terminal:
        monkeypatch.setattr("sys.stderr", terminal)
        Run(write(tmp_path, office(1500)), stderr=terminal)
    monkeypatch.undo()
    shown = ""
    with open(ours, "rb", buffering=0) as drawn, suppress(OSError):  # it ends in an error
        while piece := drawn.read(65_536):
            shown += piece.decode()

    assert "\roffice.csv: 100%|" in shown
    assert all(len(state) < 80 for state in shown.split("\r"))


def test_times_ahead_of_the_clock_are_refused(owner: User, tmp_path: Path) -> None:
    ahead = timezone.now() + timedelta(days=2)

    run = Run(write(tmp_path, f"time,a\n2025-06-04 17:51,5\n{ahead.isoformat()},6\n"))

    assert "1 stored, 0 already there, 1 refused" in run.out
    assert "refused line 3: recorded_at: Between 2000 and now" in run.out
