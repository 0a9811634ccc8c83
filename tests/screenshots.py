"""Take screenshots of every page: `python -m tests.screenshots`.

They are stored in var/screenshots, those of the README in docs/pictures. With --readme only the
latter are taken.
"""

import base64
import sys
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from tests import browser
from tests.e2e.conditions import wait_until_loaded
from tests.e2e.sites import ROOT, DemoSite, open_demo_site
from tests.e2e.test_every_page import PAGES, address

FOLDER = ROOT / "var" / "screenshots"
PICTURES = ROOT / "docs" / "pictures"
VARIANTS = [(360, "dark"), (768, "light"), (1440, "light"), (1440, "dark"), (3840, "light")]
CLIMATE_KEYS = "&key=climate.temperature&key=climate.humidity"
README_PICTURES = {
    "devices": ("/?q=climate", 1280, 760, "light"),
    "history": ("/devices/{greenhouse}/history?range=7d" + CLIMATE_KEYS, 1280, 800, "light"),
    "device": ("/devices/{greenhouse}?range=24h", 1280, 860, "dark"),
    "phone": ("/devices/{greenhouse}/history?range=24h" + CLIMATE_KEYS, 390, 844, "dark"),
}


def main() -> None:
    path = browser.find()
    if path is None:
        sys.exit(browser.MISSING)
    FOLDER.mkdir(parents=True, exist_ok=True)
    PICTURES.mkdir(parents=True, exist_ok=True)
    with open_demo_site() as demo_site, sync_playwright() as playwright:
        chromium_browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        for name, (path_on_site, width, height, theme) in README_PICTURES.items():
            tab = _tab(chromium_browser, demo_site, width, height, theme)
            tab.goto(address(demo_site, path_on_site))
            wait_until_loaded(tab)
            _webp(tab, PICTURES / f"{name}.webp")
            tab.context.close()
        if "--readme" not in sys.argv:
            _every_page(chromium_browser, demo_site)
        chromium_browser.close()
    sys.stdout.write(f"{FOLDER} and {PICTURES}\n")


def _every_page(chromium_browser: Browser, demo_site: DemoSite) -> None:
    for width, theme in VARIANTS:
        tab = _tab(chromium_browser, demo_site, width, 900, theme)
        for name, path_on_site in PAGES.items():
            tab.goto(address(demo_site, path_on_site))
            wait_until_loaded(tab)
            file = f"{name.replace(', ', '-').replace(' ', '-')}-{width}-{theme}.png"
            tab.screenshot(path=FOLDER / file, full_page=True)
        tab.context.close()


def _tab(
    chromium_browser: Browser, demo_site: DemoSite, width: int, height: int, theme: str
) -> Page:
    context = chromium_browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme=theme,  # type: ignore[arg-type]
        reduced_motion="reduce",
    )
    context.add_cookies(demo_site.state)
    return context.new_page()


def _webp(tab: Page, file: Path) -> None:
    """Store the visible part of the page as a small WebP file."""
    chromium = tab.context.new_cdp_session(tab)
    screenshot = chromium.send("Page.captureScreenshot", {"format": "webp", "quality": 82})
    file.write_bytes(base64.b64decode(screenshot["data"]))


if __name__ == "__main__":
    main()
