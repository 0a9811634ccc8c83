"""Each guard, broken on purpose, must turn some test red."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from tests.e2e.sites import ROOT


class Mutation(NamedTuple):
    """A guard: where it is, what it is replaced by, and the tests that hold it."""

    guard: str
    file: str
    old: str
    new: str
    tests: str


MUTATIONS = [
    Mutation(
        "owner filter",
        "devices/models.py",
        "self.filter(user=user, deleted_at=None)",
        "self.filter(deleted_at=None)",
        "tests/devices/test_list_api.py",
    ),
    Mutation(
        "SKIP LOCKED",
        "commands/services.py",
        "skip_locked=True",
        "skip_locked=False",
        "tests/commands/test_claims.py",
    ),
    Mutation(
        "ON CONFLICT",
        "telemetry/ingest/storage.py",
        "ON CONFLICT DO NOTHING",
        "",
        "tests/telemetry/ingest/test_storage.py",
    ),
    Mutation(
        "commit before the answer",
        "telemetry_site/settings.py",
        '"CONN_MAX_AGE": None,',
        '"CONN_MAX_AGE": None, "AUTOCOMMIT": False,',
        "tests/telemetry/ingest/test_idempotency.py",
    ),
    Mutation(
        "health checks of connections",
        "telemetry_site/settings.py",
        '"CONN_HEALTH_CHECKS": True',
        '"CONN_HEALTH_CHECKS": False',
        "tests/common/db/test_connections.py",
    ),
    Mutation(
        "CSP",
        "telemetry_site/middleware/http.py",
        "default-src 'none'; script-src 'self'",
        "default-src 'none'; script-src *",
        "tests/telemetry_site/api/test_problems.py",
    ),
    Mutation(
        "throttle",
        "accounts/throttling.py",
        "if tries > times * counter.factor:",
        "if tries > 1000 * times * counter.factor:",
        "tests/accounts/test_throttling.py",
    ),
    Mutation(
        "body cap",
        "telemetry_site/middleware/http.py",
        "if len(length) > MAX_LENGTH_DIGITS or int(length) > limit:",
        "if len(length) > MAX_LENGTH_DIGITS:",
        "tests/telemetry_site/api/test_problems.py",
    ),
    Mutation(
        "what no log may hold",
        "telemetry_site/operations/logging.py",
        "return token_format.mask_tokens(json.dumps(entry, ensure_ascii=False, default=str))",
        "return json.dumps(entry, ensure_ascii=False, default=str)",
        "tests/telemetry_site/operations/test_logging.py",
    ),
    Mutation(
        "metrics are not public",
        "telemetry_site/operations/metrics.py",
        "and not through_proxy",
        "",
        "tests/telemetry_site/operations/test_metrics.py",
    ),
]


def run() -> list[str]:
    """The guards that could be broken without a test noticing."""
    only = os.environ.get("GUARDS", "").split(",")
    faults = []
    for mutation in MUTATIONS:
        if only != [""] and mutation.guard not in only:
            continue
        noticed = tried(mutation)
        print(f"  {mutation.guard}: {'noticed' if noticed else 'NOT noticed'}", flush=True)
        if not noticed:
            faults.append(f"{mutation.guard}: {mutation.tests} stays green without it")
    return faults


def tried(mutation: Mutation) -> bool:
    """Whether its tests fail in a copy of the code without the guard."""
    with tempfile.TemporaryDirectory(prefix="fire-mutation-") as folder:
        copy = Path(folder)
        known = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        )
        for name in filter(None, known.stdout.split("\0")):
            if (ROOT / name).exists():
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, copy / name)
        broken = copy / mutation.file
        text = broken.read_text(encoding="utf-8")
        assert mutation.old in text, f"{mutation.guard} is no longer in {mutation.file}"
        broken.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", mutation.tests],
            cwd=copy,
            env=os.environ | {"DATA_DIR": str(ROOT / "var" / "test")},
            capture_output=True,
            text=True,
            check=False,
        )
        # 1: tests have failed; anything else is no answer.
        if done.returncode not in (0, 1):
            raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
        return done.returncode == 1
