"""What keeps people out of a page, as axe finds it."""

from axe_playwright_python.base import AXE_SCRIPT, AxeResults
from playwright.sync_api import Page

from tests.e2e.waiting import settle

RUN = "options => axe.run({resultTypes: ['violations'], preload: false, ...options})"
LOOKS = {"light": {}, "dark": {"runOnly": ["color-contrast"]}}
"""All of it in the light, and what the dark changes."""


def keeps_nobody_out(page: Page) -> None:
    """Whatever axe finds is a failure."""
    settle(page)
    page.evaluate(AXE_SCRIPT)
    for theme, options in LOOKS.items():
        page.emulate_media(color_scheme=theme, reduced_motion="reduce")  # type: ignore[arg-type]
        found = AxeResults(page.evaluate(RUN, options))
        assert found.violations_count == 0, f"{page.url}, {theme}: {found.generate_report()}"
