"""Data of an earlier version survives the migrations to this version."""

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection

from tests import upgrade
from tests.telemetry_site.operations.installations import Installation, empty_installations

pytestmark = [pytest.mark.django_db, pytest.mark.unmeasured]
BACKUPS = sorted(Path(upgrade.__file__).parent.glob("*.tar.xz"))


def name_of(file: Path) -> str:
    return file.name.removesuffix(".tar.xz")


ASK = """
import json, os
from django.test import Client
from tests.upgrade.filling import CHART
known = json.loads(os.environ["KNOWN"])

def bearer(token):
    return Client(headers={"Authorization": f"Bearer {token}"})

def sign_in(name):
    asked = {"username": name, "password": known["password"]}
    return Client().post("/api/v1/auth/login", asked, "application/json")

def results(path, **query):
    answer = owner.get(path, query)
    assert answer.status_code == 200, answer.content
    return answer.json()["results"]

owner, device = bearer(known["user_token"]), bearer(known["device_token"])
browser = Client()
browser.cookies.load(known["cookies"])
where = f"/api/v1/devices/{known['device']}"
path = "/api/v1/device/telemetry"
key = {"Idempotency-Key": known["idempotency_key"]}
batch = known["batch"]["id"]
print(json.dumps({
    "sign_in": [sign_in(name).status_code for name in ("owner", "support", "careful")],
    "session": browser.get("/api/v1/devices").status_code,
    "device": device.get("/api/v1/device").json()["name"],
    "sent_again": device.post(path, known["body"], "application/json", headers=key).json(),
    "history": results(where + "/telemetry", limit=1000),
    "chart": owner.get(where + "/telemetry/series", CHART).json(),
    "commands": results(where + "/commands"),
    "batch": owner.get(f"/api/v1/command-batches/{batch}").status_code,
    "audit": results("/api/v1/audit", limit=1000),
}))
"""


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    """Create an empty installation."""
    with empty_installations(tmp_path, 1) as (installation,):
        yield installation


def test_there_is_a_backup_of_an_earlier_version() -> None:
    assert BACKUPS


@pytest.mark.parametrize("file", BACKUPS, ids=name_of)
def test_after_an_upgrade_the_data_of_an_earlier_version_is_unchanged(
    file: Path, installation: Installation
) -> None:
    with tarfile.open(file) as archive:
        made_by = json.load(archive.extractfile("about.json"))["postgresql"] // 10_000
    if connection.pg_version // 10_000 < made_by:
        pytest.skip(f"The backup is PostgreSQL {made_by}'s.")
    known = json.loads(file.with_name(f"{name_of(file)}.json").read_text())
    installation.manage("restore", str(file))
    installation.manage("migrate", "--verbosity=0")
    printed = installation.manage("shell", "--no-imports", "-c", ASK, KNOWN=json.dumps(known))
    found = json.loads(printed.splitlines()[-1])
    # "careful" has two-factor authentication and must enter a code.
    assert found["sign_in"] == known["sign_in"]
    assert found["session"] == found["batch"] == 200
    assert found["device"] == "thé, 茶"
    same = ("id", "recorded_at")
    assert [found["sent_again"][one] for one in same] == [known["receipt"][one] for one in same]
    assert contains(found["history"], known["history"])
    assert found["chart"] | known["chart"] == found["chart"]
    assert contains(found["commands"], known["commands"], but={"status", "reason", "finished_at"})
    assert contains(found["audit"], known["audit"])


def contains(
    found: list[dict[str, object]], known: list[dict[str, object]], *, but: set[str] = frozenset()
) -> bool:
    """Return whether each known row is found with the same values; new fields are allowed."""
    rows = {row["id"]: row for row in found}
    return all(
        rows[row["id"]] | {name: value for name, value in row.items() if name not in but}
        == rows[row["id"]]
        for row in known
    )
