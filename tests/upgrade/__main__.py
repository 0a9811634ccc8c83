"""Make tests/upgrade/NAME.tar.xz with the current code: `.venv/bin/python -m tests.upgrade NAME`.

It is a backup of a small site that has rows in every table, and NAME.json holds what a client of
that site knows: tokens, a session cookie, the responses it got.
tests/telemetry_site/operations/test_upgrade.py restores each of these backups and migrates it. Make
one for each release, and never change an old one.
"""

import json
import lzma
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(__file__).resolve().parent


def main(name: str) -> None:
    """Write both files."""
    with tempfile.TemporaryDirectory(prefix="telemetry-upgrade-") as folder:
        manage(folder, "migrate", "--verbosity=0")
        code = "from tests.upgrade import filling; filling.fill()"
        printed = manage(folder, "shell", "--no-imports", "--verbosity=0", "-c", code)
        backup = Path(folder) / "backup.tar"
        manage(folder, "backup", str(backup))
        (FOLDER / f"{name}.tar.xz").write_bytes(lzma.compress(backup.read_bytes()))
    known = json.loads(printed.splitlines()[-1])
    (FOLDER / f"{name}.json").write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n")


def manage(folder: str, *words: str) -> str:
    """Run a management command on the embedded PostgreSQL of this folder and return its output."""
    environment = {"DATABASE_URL": "", "DATA_DIR": folder, "SECRET_KEY": ""}
    return subprocess.run(
        [sys.executable, "manage.py", *words],
        cwd=ROOT,
        env=os.environ | environment | {"ALLOWED_HOSTS": "testserver"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout


if __name__ == "__main__":
    main(sys.argv[1])
