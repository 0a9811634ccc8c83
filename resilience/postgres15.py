"""The whole suite on Debian's PostgreSQL 15."""

import os
import subprocess
import sys
from pathlib import Path

from resilience.server import DEBIAN_15, PostgreSQL
from tests.e2e.sites import ROOT

TESTS = os.environ.get("TESTS", "tests").split()
"""A part of it, where that is enough."""
OWN_SERVER = ("tests/e2e", "tests/deploy", "tests/telemetry_site/operations/test_running.py")
"""What starts an embedded PostgreSQL itself."""


def run() -> list[str]:
    """What pytest says of it."""
    if not DEBIAN_15.exists():
        print("  (left out: apt-get install postgresql-15)")
        return []
    with PostgreSQL(DEBIAN_15, max_connections="200") as server:
        print(f"  {server.ask('SELECT version()')[0][0]}", flush=True)
        return suite(server.url)


def suite(url: str) -> list[str]:
    """The failures of the suite on this server."""
    ignored = [f"--ignore={path}" for path in OWN_SERVER]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "loadfile", *ignored, *TESTS],
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": url, "DATA_DIR": str(Path(ROOT) / "var" / "test")},
        capture_output=True,
        text=True,
        check=False,
    )
    *_, last = done.stdout.strip().splitlines() or [done.stderr]
    print(f"  {last}", flush=True)
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return failed or ([last] if done.returncode else [])
