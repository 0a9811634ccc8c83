"""The files in deploy/: systemd units, Dockerfile and compose file, without running them."""

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
ALL_INTERFACES = "0.0.0.0"  # noqa: S104 - within its container
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
def test_systemd_analyze_accepts_the_units(tmp_path: Path) -> None:
    for unit in UNITS:
        # The programs of the units are not installed here.
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
def test_a_service_has_an_unprivileged_user_and_limited_write_access(unit: Path) -> None:
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


def test_every_command_of_a_service_exists() -> None:
    for unit in SERVICES:
        for command in commands(unit):
            if match := re.search(r"manage\.py (\w+)", command):
                assert match[1] in get_commands(), command


def test_containers_run_without_root_on_a_read_only_image() -> None:
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
    assert run == PROCFILE["site"].replace("$BIND", ALL_INTERFACES).replace("$PORT", "8000")
    assert text.index("USER telemetry") < text.index("\nCMD")
    copied = re.findall(r"^COPY (?!--)(\S+)", text, re.MULTILINE)
    assert all((ROOT / name).exists() for name in copied)


def test_the_number_of_web_workers_is_the_same_in_every_deployment() -> None:
    for name in ("systemd/telemetry-site.service", "Dockerfile"):
        assert re.findall(r"\bGRANIAN_WORKERS=(\d+)", (DEPLOY / name).read_text()) == ["2"]
    assert settings.WEB_WORKERS == 2


def test_services_restart_without_migrations_and_preparation_is_retried_at_boot() -> None:
    prepare = (DEPLOY / "systemd" / "telemetry-prepare.service").read_text()
    assert "RemainAfterExit=yes" in prepare
    assert "Restart=on-failure" in prepare
    for name in ("site", "live", "worker"):
        unit = (DEPLOY / "systemd" / f"telemetry-{name}.service").read_text()
        # With Requires= a unit fails together with the other one, and Restart= does not apply.
        assert "Requires=" not in unit
        assert "Wants=telemetry-prepare.service" in unit
        assert "After=telemetry-prepare.service" in unit
        assert "StartLimitIntervalSec=0" in unit


def test_containers_trust_only_the_proxy_of_their_network_and_have_limits() -> None:
    read = compose()
    (network,) = read["networks"]["default"]["ipam"]["config"]
    for name, service in read["services"].items():
        assert service["mem_limit"], name
        assert service["pids_limit"], name
        if name not in ("database",):
            assert service["environment"]["TRUSTED_PROXIES"] == network["subnet"], name
    for name in ("live", "worker", "database"):
        assert read["services"][name]["healthcheck"]["test"], name


def test_the_user_of_a_container_may_write_backups() -> None:
    service = compose()["services"]["backup"]
    shell, option, script = service["command"]
    assert subprocess.run([shell, "-n", option, script], check=False).returncode == 0
    assert re.findall(r"manage\.py (\w+) (/\w+)/", script) == [("backup", "/backups")]
    assert "backups:/backups" in service["volumes"]
    # A new volume gets the owner of the folder in the image.
    (made,) = re.findall(r"install .*--owner=telemetry.*", (DEPLOY / "Dockerfile").read_text())
    assert "/backups" in made.split()
    assert service["init"] is True
