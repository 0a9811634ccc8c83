"""Waiting until a page is as it should be."""

from playwright.sync_api import Page

from tests.e2e.sites import PATIENCE

WAIT = """(milliseconds) => new Promise((done, fail) => {
    const last = performance.now() + milliseconds;
    const look = () => {
        if (CONDITION) done();
        else if (performance.now() > last) fail(new Error("it has not become true"));
        else setTimeout(look, 20);
    };
    look();
})"""
FITS = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
"""Nothing has to be scrolled for sideways."""


def until(page: Page, condition: str) -> None:
    """Return when this expression is true in the page.

    Playwright's own wait_for_function has the page evaluate a text each time it looks, which the
    CSP forbids from the second time on.
    """
    page.evaluate(WAIT.replace("CONDITION", condition), PATIENCE * 1000)


def settle(page: Page) -> None:
    """Until what loads later is there, the charts above all."""
    until(
        page,
        """document.readyState === "complete" && !document.querySelector(".htmx-request")
            && [...document.querySelectorAll("telemetry-history .plot")].every(
                (plot) => !plot.checkVisibility() || plot.querySelector("canvas"))""",
    )
