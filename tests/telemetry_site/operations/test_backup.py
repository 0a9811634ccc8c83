"""Backup and restore: the restored data is the same, and sessions and tokens stay valid."""

import json
import stat
import tarfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db.migrations import Migration

from telemetry_site.operations import backup
from tests.telemetry_site.operations.installations import Installation, empty_installations

pytestmark = pytest.mark.django_db
FILL = """
from django.test import Client
from datetime import UTC, datetime
from accounts.models import User
from devices import services as device_services
from django.utils import timezone
from tests.factories import CommandFactory, DeviceFactory, UserFactory, device_token, user_token
from tests.factories import store_readings
from telemetry.retention import partitions
import json

partitions.ensure_ahead(timezone.now())
owner = UserFactory.create(username="owner")
device = DeviceFactory.create(user=owner, name="thé, 茶")
store_readings(device, payloads=[{"temperature": n / 7, "note": "ü"} for n in range(300)])
old = datetime(2003, 5, 1, tzinfo=UTC)
store_readings(device, payloads=[{"old": n} for n in range(5)], recorded_at=old)
CommandFactory.create(device=device)
browser = Client()
browser.force_login(owner)
print(json.dumps({"cookies": {k: m.value for k, m in browser.cookies.items()},
                  "user": user_token(owner), "device": device_token(device)}))
"""
ASK = """
import json, os
from django.test import Client
from accounts.models import User
from tests.factories import PASSWORD
known = json.loads(os.environ["KNOWN"])
browser = Client()
browser.cookies.load(known["cookies"])
login = Client().post("/api/v1/auth/login", {"username": "owner", "password": PASSWORD},
                      content_type="application/json")
def bearer(which, path):
    return Client(headers={"Authorization": f"Bearer {known[which]}"}).get(path).status_code
print(json.dumps([browser.get("/api/v1/devices").status_code, login.status_code,
                  bearer("user", "/api/v1/devices"), bearer("device", "/api/v1/device")]))
"""


@pytest.fixture
def installations(tmp_path: Path) -> Iterator[list[Installation]]:
    """Create two empty installations."""
    with empty_installations(tmp_path, 2) as installations:
        yield installations


def test_a_restored_installation_equals_the_one_that_was_backed_up(
    installations: list[Installation], tmp_path: Path
) -> None:
    here, there = installations
    file = tmp_path / "backup.tar"
    here.manage("migrate", "--verbosity=0")
    known = here.manage("shell", "--no-imports", "--verbosity=0", "-c", FILL).splitlines()[-1]
    assert "Keep it safe" in here.manage("backup", str(file))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with tarfile.open(file) as archive:
        assert archive.getnames() == ["about.json", "database.dump", "secret_key"]

    there.manage("restore", str(file))
    sums = here.sums()
    assert there.sums() == sums
    assert sums["telemetry"].startswith("(305,")
    assert sums["telemetry_2003_01_to_2003_12"].startswith("(5,")
    assert (there.folder / "secret_key").read_text() == (here.folder / "secret_key").read_text()
    assert json.loads(there.manage("shell", "--no-imports", "-c", ASK, KNOWN=known)) == [200] * 4
    assert "--replace" in there.manage("restore", str(file), fails=True)

    # Another client is connected.
    with psycopg.connect(**there.login) as busy:
        # A connection pool opens a server connection only for a query.
        busy.execute("SELECT 1")
        assert "Stop the site" in there.manage("restore", str(file), "--replace", fails=True)
    # A corrupt backup changes nothing.
    before = there.sums()
    whole = file.read_bytes()
    with tarfile.open(file) as archive:
        dump = archive.getmember("database.dump")
    broken = tmp_path / "broken.tar"
    middle = dump.offset_data + dump.size // 2
    broken.write_bytes(whole[:middle] + bytes(2000) + whole[middle + 2000 :])
    there.manage("restore", str(broken), "--replace", fails=True)
    assert there.sums() == before
    # Another key exists: it is kept under another name.
    (there.folder / "secret_key").write_text("another")
    there.manage("restore", str(file), "--replace")
    assert there.sums() == sums
    assert (there.folder / "secret_key.before").read_text() == "another"


def test_a_file_that_is_not_a_backup_is_rejected(tmp_path: Path) -> None:
    file = tmp_path / "nothing.tar"
    file.write_bytes(b"nothing")
    with pytest.raises(CommandError, match="is no backup"):
        call_command("restore", str(file))


@pytest.mark.parametrize(
    "told",
    [
        {"format": 99, "migrations": {}},
        {"format": 1, "migrations": {"devices": "0999_from_the_future"}},
        {"format": 1, "migrations": {"teams": "0001_initial"}},
    ],
)
def test_a_backup_of_a_newer_version_is_rejected(tmp_path: Path, told: dict[str, Any]) -> None:
    file = tmp_path / "newer.tar"
    with tarfile.open(file, "w") as archive:
        about = tmp_path / "about.json"
        about.write_text(json.dumps(told))
        archive.add(about, "about.json")
    with pytest.raises(CommandError, match="newer version"):
        call_command("restore", str(file))


def about(file: Path, migrations: object) -> Path:
    """Write a backup that contains only its description."""
    said = json.dumps({"format": backup.FORMAT, "migrations": migrations}).encode()
    with tarfile.open(file, "w") as archive:
        head = tarfile.TarInfo("about.json")
        head.size = len(said)
        archive.addfile(head, BytesIO(said))
    return file


def test_a_backup_with_unknown_migrations_is_rejected_before_anything_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = about(tmp_path / "newer.tar", {"accounts": "0001_initial", "devices": "0999_later"})
    monkeypatch.setattr(backup, "_replace_all", lambda dump: pytest.fail("replaced"))
    with pytest.raises(
        CommandError, match=r"newer version. .* devices\.0999_later\. Update"
    ) as got:
        call_command("restore", str(file), "--replace")
    assert "accounts" not in str(got.value)
    assert isinstance(got.value.__cause__, backup.MadeByNewerCode)


@pytest.mark.parametrize("migrations", [["accounts"], None])
def test_a_backup_without_its_migrations_is_rejected(tmp_path: Path, migrations: object) -> None:
    with pytest.raises(CommandError, match="is no backup"):
        call_command("restore", str(about(tmp_path / "odd.tar", migrations)))


def test_a_migration_replaced_by_a_squashed_one_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    class Squashed(Migration):
        replaces = [("devices", "0001_initial"), ("devices", "0998_squashed_away")]

    class Loader:
        disk_migrations = {("devices", "0001_squashed"): Squashed("0001_squashed", "devices")}

    monkeypatch.setattr(backup, "MigrationLoader", lambda connection: Loader)
    assert backup._is_known("devices", "0998_squashed_away")
    assert not backup._is_known("devices", "0999_later")


def test_an_existing_file_is_not_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "kept.tar"
    file.write_text("kept")
    with pytest.raises(CommandError, match="not overwritten"):
        call_command("backup", str(file))
    assert file.read_text() == "kept"
