"""The Chromium that browser tests drive: `python -m tests.browser` finds one or gets one."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]
ELSEWHERE = [Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")]
MISSING = """
######################################################################
#  No Chromium: the browser tests in tests/e2e are LEFT OUT.    #
#  Install one (apt install chromium) or name it: CHROMIUM=/path/to  #
######################################################################
"""


def find() -> str | None:
    """The path of a Chromium on this machine."""
    named = os.environ.get("CHROMIUM")
    on_path = (shutil.which(name) for name in NAMES)
    elsewhere = (str(path) for path in ELSEWHERE if path.exists())
    found = next((path for path in [named, *on_path, *elsewhere] if path), None)
    return found or _downloaded()


def obtain() -> None:
    """Try to install one, in the way that this machine allows."""
    if os.geteuid() == 0 and shutil.which("apt-get"):
        commands = [["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", "chromium"]]
    else:
        commands = [[sys.executable, "-m", "playwright", "install", "chromium"]]
    for command in commands:
        print("No Chromium found; trying:", *command, flush=True)  # noqa: T201
        if subprocess.run(command, check=False, timeout=600).returncode:
            return


def _downloaded() -> str | None:
    """The one that playwright has installed for itself."""
    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if Path(path).exists() else None


def main() -> int:
    """0 when there is a browser or we may do without, 1 in CI without one."""
    if not find():
        obtain()
    if browser := find():
        print("Browser tests use", browser)  # noqa: T201
        return 0
    print(MISSING)  # noqa: T201
    return 1 if os.environ.get("CI") else 0


if __name__ == "__main__":
    sys.exit(main())
