"""Waiting for conditions of a page."""

from playwright.sync_api import Page

from tests.e2e.sites import TIMEOUT_SECONDS

WAIT = """(milliseconds) => new Promise((done, fail) => {
    const last = performance.now() + milliseconds;
    const look = () => {
        if (CONDITION) done();
        else if (performance.now() > last) fail(new Error("the condition is not true in time"));
        else setTimeout(look, 20);
    };
    look();
})"""
NO_HORIZONTAL_SCROLL = (
    "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
)
"""The page does not scroll sideways."""


def wait_until(page: Page, condition: str) -> None:
    """Return when this expression is true in the page.

    Playwright's wait_for_function evaluates a text at each check; the CSP forbids this from the
    second time on.
    """
    page.evaluate(WAIT.replace("CONDITION", condition), TIMEOUT_SECONDS * 1000)


def wait_until_loaded(page: Page) -> None:
    """Wait until everything that loads late is there, in particular the charts."""
    wait_until(
        page,
        """document.readyState === "complete" && !document.querySelector(".htmx-request")
            && [...document.querySelectorAll("telemetry-history .plot")].every(
                (plot) => !plot.checkVisibility() || plot.querySelector("canvas"))""",
    )
