"""Pictures of every page, to be looked at one by one: `python -m tests.shots`.

They go below var/screenshots, and those of the README to docs/pictures; with --readme only these.
"""

import base64
import sys
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from tests import browser
from tests.e2e.sites import ROOT, House, opened_house
from tests.e2e.test_every_page import PAGES, address
from tests.e2e.waiting import settle

FOLDER = ROOT / "var" / "shots"
PICTURES = ROOT / "docs" / "pictures"
LOOKS = [(360, "dark"), (768, "light"), (1440, "light"), (1440, "dark"), (3840, "light")]
OF_CLIMATE = "&key=climate.temperature&key=climate.humidity"
OF_README = {
    "devices": ("/?q=climate", 1280, 760, "light"),
    "history": ("/devices/{greenhouse}/history?range=7d" + OF_CLIMATE, 1280, 800, "light"),
    "device": ("/devices/{greenhouse}?range=24h", 1280, 860, "dark"),
    "phone": ("/devices/{greenhouse}/history?range=24h" + OF_CLIMATE, 390, 844, "dark"),
}


def main() -> None:
    path = browser.find()
    if path is None:
        sys.exit(browser.MISSING)
    FOLDER.mkdir(parents=True, exist_ok=True)
    PICTURES.mkdir(parents=True, exist_ok=True)
    with opened_house() as house, sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        for name, (where, width, height, theme) in OF_README.items():
            tab = _tab(running, house, width, height, theme)
            tab.goto(address(house, where))
            settle(tab)
            _webp(tab, PICTURES / f"{name}.webp")
            tab.context.close()
        if "--readme" not in sys.argv:
            _every_page(running, house)
        running.close()
    sys.stdout.write(f"{FOLDER} and {PICTURES}\n")


def _every_page(running: Browser, house: House) -> None:
    for width, theme in LOOKS:
        tab = _tab(running, house, width, 900, theme)
        for name, where in PAGES.items():
            tab.goto(address(house, where))
            settle(tab)
            file = f"{name.replace(', ', '-').replace(' ', '-')}-{width}-{theme}.png"
            tab.screenshot(path=FOLDER / file, full_page=True)
        tab.context.close()


def _tab(running: Browser, house: House, width: int, height: int, theme: str) -> Page:
    context = running.new_context(
        viewport={"width": width, "height": height},
        color_scheme=theme,  # type: ignore[arg-type]
        reduced_motion="reduce",
    )
    context.add_cookies(house.state)
    return context.new_page()


def _webp(tab: Page, file: Path) -> None:
    """What is in sight, small enough for a repository."""
    chromium = tab.context.new_cdp_session(tab)
    taken = chromium.send("Page.captureScreenshot", {"format": "webp", "quality": 82})
    file.write_bytes(base64.b64decode(taken["data"]))


if __name__ == "__main__":
    main()
