"""A fuzzer that is led by coverage, on every parser of what comes from outside."""

import os
import re
import subprocess
import tempfile

from resilience.tools import PYTHON
from tests.e2e.sites import ROOT

SECONDS = int(os.environ.get("FUZZ_SECONDS", "30"))
"""For each of them."""
LONGEST = 4096
"""Bytes that the fuzzer makes."""
KEPT = ROOT / "var" / "fire" / "fuzz"
"""What got somewhere new is where the next run begins; what broke something is beside it."""
FUZZED = [PYTHON, "-m", "resilience.fuzz_targets"]
SETTINGS = {"DJANGO_SETTINGS_MODULE": "telemetry_site.settings"}


def run() -> list[str]:
    """Each target in a process of its own, from the corpus and what earlier runs have found."""
    found = subprocess.run([PYTHON, "-c", "import atheris"], capture_output=True, check=False)
    if found.returncode:
        print("  (there is no atheris for this Python or machine: left out)")
        return []
    with tempfile.TemporaryDirectory(prefix="fire-fuzz-") as data:
        environment = os.environ | {"DATA_DIR": data, **SETTINGS}
        listed = subprocess.run(
            FUZZED, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE
        )
        names = listed.stdout.decode().split()
        return [fault for name in names for fault in one(name, environment)]


def one(name: str, environment: dict[str, str]) -> list[str]:
    folder = KEPT / name
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [
            *(*FUZZED, name, str(folder)),
            *(f"-max_total_time={SECONDS}", f"-max_len={LONGEST}", "-timeout=10"),
            *(f"-artifact_prefix={KEPT}/{name}-", "-print_final_stats=1"),
        ],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    runs = re.search(r"Done (\d+) runs|number_of_executed_units: (\d+)", done.stderr)
    reached = re.findall(r"cov: (\d+)", done.stderr)
    print(
        f"  {name}: {runs[1] or runs[2] if runs else '?'} runs, {reached[-1] if reached else '?'}"
        f" branches, {len(list(folder.iterdir()))} inputs kept",
        flush=True,
    )
    if done.returncode == 0:
        return []
    said = done.stdout + done.stderr
    where = said.find("Uncaught Python exception")
    return [f"{name}: {said[where if where >= 0 else -3000 :][:3000]}"]
