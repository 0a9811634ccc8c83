"""Known weaknesses of the packages the site runs on: `python -m tests.audit`, a part of make check.

Fails on a weakness that is known. Where nobody answers who would know, it says so and passes.
"""

import json
import subprocess
import sys
from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().parent.parent / "requirements.txt"
PATIENCE = 30
"""Seconds."""


def main() -> int:
    """0, or 1 with a line for each weakness."""
    command = [
        *(sys.executable, "-m", "pip_audit", "--requirement", str(REQUIREMENTS), "--no-deps"),
        *("--disable-pip", "--progress-spinner", "off", "--format", "json", "--timeout", "5"),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        found = json.loads(done.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, ValueError, KeyError):
        found = []
    known = [one for one in found if "vulns" in one]
    sys.stdout.write(f"Weaknesses of packages: {len(known)} could be asked about\n")
    weak = [(one, each) for one in known for each in one["vulns"]]
    for one, each in weak:
        fixed = ", ".join(each["fix_versions"]) or "nothing yet"
        sys.stdout.write(f"  {one['name']} {one['version']}: {each['id']}, mended in {fixed}\n")
    return 1 if weak else 0


if __name__ == "__main__":
    sys.exit(main())
