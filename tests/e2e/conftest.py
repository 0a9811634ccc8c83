"""Fixtures of the end-to-end tests: a site started by `manage.py run`, and a Chromium."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests import browser
from tests.e2e.sites import TIMEOUT_SECONDS, DemoSite, Site, open_demo_site


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Start Chromium for one module only: Django refuses database access while its event loop
    runs.
    """
    path = browser.find()
    if path is None:
        if os.environ.get("CI"):
            pytest.fail("Chromium is missing; it is required in CI.")
        pytest.skip("No Chromium on this machine. Run `python -m tests.browser` for details.")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=path,
            args=["--no-sandbox", "--disable-background-networking", "--disable-component-update"],
        )
        yield running
        running.close()


@pytest.fixture
def locale() -> str:
    """Return the language that the browser is set to."""
    return "en-US"


@pytest.fixture
def window(chromium: Browser, locale: str) -> Iterator[BrowserContext]:
    """Open a browser context without cookies."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, locale=locale)
    context.set_default_timeout(TIMEOUT_SECONDS * 1000)
    expect.set_options(timeout=TIMEOUT_SECONDS * 1000)
    yield context
    context.close()


@pytest.fixture
def page(window: BrowserContext) -> Iterator[Page]:
    """Open a tab. The test fails if its console shows an error, such as a violation of the CSP."""
    complaints: list[str] = []
    tab = window.new_page()
    tab.on(
        "console",
        lambda message: complaints.append(message.text) if message.type == "error" else None,
    )
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    yield tab
    assert complaints == []


@pytest.fixture
def site() -> Iterator[Site]:
    # Not below pytest's own folder: PostgreSQL's user (another one if the tests run as root) cannot
    # open it.
    with tempfile.TemporaryDirectory(prefix="telemetry-") as folder:
        with Site(Path(folder) / "data") as running:
            yield running
        print("".join(running.said))  # noqa: T201 - pytest shows it when the test failed


@pytest.fixture(scope="session")
def demo_site() -> Iterator[DemoSite]:
    with open_demo_site() as found:
        yield found


@pytest.fixture
def owner_page(page: Page, demo_site: DemoSite) -> Page:
    """Return a tab in which the owner of the demo site is signed in."""
    page.context.add_cookies(demo_site.state)
    return page
