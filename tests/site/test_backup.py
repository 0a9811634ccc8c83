"""The drill: what is restored is what was backed up, and lets in whoever was let in before."""

import json
import os
import stat
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from psycopg import sql

from tests.journeys.sites import PATIENCE, ROOT

pytestmark = pytest.mark.django_db
FILL = """
from django.test import Client
from datetime import UTC, datetime
from accounts.models import User
from devices import enrolment
from django.utils import timezone
from tests.factories import CommandFactory, DeviceFactory, UserFactory, device_token, user_token
from tests.factories import store_readings
from telemetry import partitions
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


def login() -> dict[str, Any]:
    """How to reach the server that the tests run on."""
    given = connection.get_connection_params()
    return {key: given[key] for key in ("host", "port", "user", "password") if given.get(key)}


class Place:
    """An installation of its own: a database and a folder."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self.login = {**login(), "dbname": name}
        user, host = quote(self.login["user"]), str(self.login["host"])
        if "password" in self.login:
            user += f":{quote(self.login['password'])}"
        # A folder is a socket's.
        address = f"/{host}" if host.startswith("/") else f"{host}:{self.login['port']}"
        self.url = f"postgres://{user}@{address}/{name}"

    def manage(self, *words: str, fails: bool = False, **environment: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", *words],
            cwd=ROOT,
            env=os.environ
            | {"DATABASE_URL": self.url, "DATA_DIR": str(self.folder), "SECRET_KEY": ""}
            | {"ALLOWED_HOSTS": "testserver"}
            | environment,
            capture_output=True,
            text=True,
            timeout=10 * PATIENCE,
            check=False,
        )
        assert bool(done.returncode) is fails, done.stderr
        return done.stderr if fails else done.stdout

    def sums(self) -> dict[str, str]:
        """A checksum of the rows of each table."""
        with psycopg.connect(**self.login) as database:
            tables = database.execute(
                "SELECT oid::regclass::text FROM pg_class WHERE relkind IN ('r', 'p')"
                " AND relnamespace = 'public'::regnamespace ORDER BY 1"
            ).fetchall()
            return {
                table: str(
                    database.execute(
                        sql.SQL(
                            "SELECT count(*), md5(coalesce(string_agg(row::text, E'\\n' ORDER BY"
                            " row::text), '')) FROM {} AS row"
                        ).format(sql.Identifier(*table.split(".")))
                    ).fetchone()
                )
                for (table,) in tables
            }


@pytest.fixture
def places(tmp_path: Path) -> Iterator[tuple[Place, Place]]:
    """Two, with nothing in them yet."""
    names = [f"drill_{os.getpid()}_{number}" for number in range(2)]
    with psycopg.connect(**login(), dbname="postgres", autocommit=True) as database:
        for name in names:
            database.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        first, second = (Place(name, tmp_path / name) for name in names)
        yield first, second
        for name in names:
            drop = "DROP DATABASE {} WITH (FORCE)"
            database.execute(sql.SQL(drop).format(sql.Identifier(name)))


def test_what_is_restored_is_what_was_backed_up(
    places: tuple[Place, Place], tmp_path: Path
) -> None:
    here, there = places
    file = tmp_path / "backup.tar"
    here.manage("migrate", "--verbosity=0")
    known = here.manage("shell", "--no-imports", "--verbosity=0", "-c", FILL).splitlines()[-1]
    assert "keep it safe" in here.manage("backup", str(file))
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

    # Somebody else is at work there.
    with psycopg.connect(**there.login) as busy:
        # A pool of connections gives one only to who says something.
        busy.execute("SELECT 1")
        assert "Stop the site" in there.manage("restore", str(file), "--replace", fails=True)
    # A backup that is broken in the middle changes nothing.
    before = there.sums()
    whole = file.read_bytes()
    with tarfile.open(file) as archive:
        dump = archive.getmember("database.dump")
    broken = tmp_path / "broken.tar"
    middle = dump.offset_data + dump.size // 2
    broken.write_bytes(whole[:middle] + bytes(2000) + whole[middle + 2000 :])
    there.manage("restore", str(broken), "--replace", fails=True)
    assert there.sums() == before
    # Another key was there: it is kept beside.
    (there.folder / "secret_key").write_text("another")
    there.manage("restore", str(file), "--replace")
    assert there.sums() == sums
    assert (there.folder / "secret_key.before").read_text() == "another"


def test_what_is_no_backup_is_refused(tmp_path: Path) -> None:
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
def test_a_backup_of_a_newer_version_is_refused(tmp_path: Path, told: dict[str, Any]) -> None:
    file = tmp_path / "newer.tar"
    with tarfile.open(file, "w") as archive:
        about = tmp_path / "about.json"
        about.write_text(json.dumps(told))
        archive.add(about, "about.json")
    with pytest.raises(CommandError, match="newer version"):
        call_command("restore", str(file))


def test_no_file_is_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "kept.tar"
    file.write_text("kept")
    with pytest.raises(CommandError, match="not overwritten"):
        call_command("backup", str(file))
    assert file.read_text() == "kept"
