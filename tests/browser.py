"""The Chromium of the browser tests: `python -m tests.browser` finds or installs one."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]
OTHER_PATHS = [Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")]
MISSING = """
######################################################################
#  No Chromium: the browser tests in tests/e2e are SKIPPED.         #
#  Install one (apt install chromium) or set CHROMIUM=/path/to       #
######################################################################
"""


def find() -> str | None:
    """Return the path of a Chromium on this machine, or None."""
    named = os.environ.get("CHROMIUM")
    on_path = (shutil.which(name) for name in NAMES)
    other_paths = (str(path) for path in OTHER_PATHS if path.exists())
    found = next((path for path in [named, *on_path, *other_paths] if path), None)
    return found or _downloaded()


def install() -> None:
    """Try to install a Chromium: with apt-get as root, else with playwright."""
    if os.geteuid() == 0 and shutil.which("apt-get"):
        commands = [["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", "chromium"]]
    else:
        commands = [[sys.executable, "-m", "playwright", "install", "chromium"]]
    for command in commands:
        print("No Chromium found; trying:", *command, flush=True)  # noqa: T201
        if subprocess.run(command, check=False, timeout=600).returncode:
            return


def _downloaded() -> str | None:
    """Return the path of the Chromium that playwright has installed, or None."""
    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if Path(path).exists() else None


def main() -> int:
    """Return 1 in CI without a browser, else 0."""
    if not find():
        install()
    if browser := find():
        print("Browser tests use", browser)  # noqa: T201
        return 0
    print(MISSING)  # noqa: T201
    return 1 if os.environ.get("CI") else 0


if __name__ == "__main__":
    sys.exit(main())
