"""What is shipped for running it: as far as it can be tried without systemd or an engine."""

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings
from django.core.management import get_commands

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
ANYWHERE = "0.0.0.0"  # noqa: S104 - within its container
UNITS = sorted((DEPLOY / "systemd").glob("*"))
SERVICES = [unit for unit in UNITS if unit.suffix == ".service"]
PROCFILE = dict(
    line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines() if ": " in line
)


def commands(unit: Path) -> list[str]:
    return re.findall(r"^Exec\w+=(.*)$", unit.read_text(), re.MULTILINE)


def compose() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return read


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
def test_systemd_finds_no_fault_in_the_units(tmp_path: Path) -> None:
    for unit in UNITS:
        # Its programs are not installed where they will be.
        text = re.sub(r"/opt/telemetry/\.venv/bin/\w+", sys.executable, unit.read_text())
        (tmp_path / unit.name).write_text(text)
    found = subprocess.run(
        ["systemd-analyze", "verify", *map(str, tmp_path.glob("*"))],
        capture_output=True,
        text=True,
        check=False,
    )
    ours = [line for line in found.stderr.splitlines() if "telemetry" in line]
    assert ours == []


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_a_service_is_nobody_special_and_writes_nowhere_else(unit: Path) -> None:
    service = configparser.ConfigParser(strict=False, interpolation=None)
    service.optionxform = str  # type: ignore[assignment, method-assign]
    service.read(unit)
    told = dict(service["Service"])
    assert told["User"] == "telemetry"
    assert told["NoNewPrivileges"] == "yes"
    assert told["ProtectSystem"] == "strict"
    assert told["CapabilityBoundingSet"] == ""


def test_the_services_run_what_the_procfile_runs() -> None:
    for name in PROCFILE.keys() & {"site", "live", "worker"}:
        run = PROCFILE[name]
        for variable in ("BIND", "PORT"):
            run = run.replace(f"${variable}", f"${{{variable}}}")
        service = DEPLOY / "systemd" / f"telemetry-{name}.service"
        assert f"/opt/telemetry/.venv/bin/{run}" in commands(service), name


def test_every_command_of_a_service_is_there() -> None:
    for unit in SERVICES:
        for command in commands(unit):
            if match := re.search(r"manage\.py (\w+)", command):
                assert match[1] in get_commands(), command


def test_no_container_is_root_or_writes_to_its_image() -> None:
    for name, service in compose()["services"].items():
        assert service["read_only"] is True, name
        assert service["user"] not in ("root", "0", "0:0"), name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), name
        for volume in service["volumes"]:
            assert volume.partition(":")[0] in compose()["volumes"], name


def test_the_image_runs_what_the_procfile_runs() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    (words,) = re.findall(r"^CMD \[(\".*)\]$", text, re.MULTILINE)
    run = " ".join(re.findall(r'"([^"]*)"', words))
    assert run == PROCFILE["site"].replace("$BIND", ANYWHERE).replace("$PORT", "8000")
    assert text.index("USER telemetry") < text.index("\nCMD")
    copied = re.findall(r"^COPY (?!--)(\S+)", text, re.MULTILINE)
    assert all((ROOT / name).exists() for name in copied)


def test_as_many_processes_serve_wherever_it_runs() -> None:
    for name in ("systemd/telemetry-site.service", "Dockerfile"):
        assert re.findall(r"\bGRANIAN_WORKERS=(\d+)", (DEPLOY / name).read_text()) == ["2"]
    assert settings.WEB_WORKERS == 2


def test_a_crash_does_not_migrate_and_a_database_away_at_boot_is_waited_for() -> None:
    prepare = (DEPLOY / "systemd" / "telemetry-prepare.service").read_text()
    assert "RemainAfterExit=yes" in prepare
    assert "Restart=on-failure" in prepare
    for name in ("site", "live", "worker"):
        unit = (DEPLOY / "systemd" / f"telemetry-{name}.service").read_text()
        # What requires another unit fails with it, and Restart= does not try that again.
        assert "Requires=" not in unit
        assert "Wants=telemetry-prepare.service" in unit
        assert "After=telemetry-prepare.service" in unit
        assert "StartLimitIntervalSec=0" in unit


def test_containers_believe_the_proxy_of_their_own_network_and_have_limits() -> None:
    read = compose()
    (network,) = read["networks"]["default"]["ipam"]["config"]
    for name, service in read["services"].items():
        assert service["mem_limit"], name
        assert service["pids_limit"], name
        if name not in ("database",):
            assert service["environment"]["TRUSTED_PROXIES"] == network["subnet"], name
    for name in ("live", "worker", "database"):
        assert read["services"][name]["healthcheck"]["test"], name


def test_a_container_makes_backups_that_its_user_may_write() -> None:
    service = compose()["services"]["backup"]
    shell, option, script = service["command"]
    assert subprocess.run([shell, "-n", option, script], check=False).returncode == 0
    assert re.findall(r"manage\.py (\w+) (/\w+)/", script) == [("backup", "/backups")]
    assert "backups:/backups" in service["volumes"]
    # A new volume is owned as the folder of the image is.
    (made,) = re.findall(r"install .*--owner=telemetry.*", (DEPLOY / "Dockerfile").read_text())
    assert "/backups" in made.split()
    assert service["init"] is True
