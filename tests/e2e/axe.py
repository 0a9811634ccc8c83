"""Accessibility checks with axe."""

from axe_playwright_python.base import AXE_SCRIPT, AxeResults
from playwright.sync_api import Page

from tests.e2e.conditions import wait_until_loaded

RUN_AXE = "options => axe.run({resultTypes: ['violations'], preload: false, ...options})"
THEMES = {"light": {}, "dark": {"runOnly": ["color-contrast"]}}
"""Every rule is checked in the light theme; only contrast is checked again in the dark theme."""


def assert_accessible(page: Page) -> None:
    """Fail on every violation that axe finds."""
    wait_until_loaded(page)
    page.evaluate(AXE_SCRIPT)
    for theme, options in THEMES.items():
        page.emulate_media(color_scheme=theme, reduced_motion="reduce")  # type: ignore[arg-type]
        found = AxeResults(page.evaluate(RUN_AXE, options))
        assert found.violations_count == 0, f"{page.url}, {theme}: {found.generate_report()}"
