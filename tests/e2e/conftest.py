"""The real thing: `manage.py run` in a folder of its own, and a Chromium in front of it."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests import browser
from tests.e2e.sites import PATIENCE, House, Site, opened_house


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """For a module and no longer: beside its event loop Django refuses to use the database."""
    path = browser.find()
    if path is None:
        if os.environ.get("CI"):
            pytest.fail("In CI there must be a Chromium.")
        pytest.skip("No Chromium on this machine: `python -m tests.browser` says more.")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=path,
            args=["--no-sandbox", "--disable-background-networking", "--disable-component-update"],
        )
        yield running
        running.close()


@pytest.fixture
def locale() -> str:
    """What the browser is set to."""
    return "en-US"


@pytest.fixture
def window(chromium: Browser, locale: str) -> Iterator[BrowserContext]:
    """A browser with nothing in it yet."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, locale=locale)
    context.set_default_timeout(PATIENCE * 1000)
    expect.set_options(timeout=PATIENCE * 1000)
    yield context
    context.close()


@pytest.fixture
def page(window: BrowserContext) -> Iterator[Page]:
    """A tab. Whatever its console complains of is a failure, the CSP above all."""
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
    # Not below pytest's own folder: that is closed to the user PostgreSQL runs as under root.
    with tempfile.TemporaryDirectory(prefix="telemetry-") as folder:
        running = Site(Path(folder) / "data")
        yield running
        if running.process.poll() is None:
            running.stop()
        print("".join(running.said))  # noqa: T201 - pytest shows it when the test failed


@pytest.fixture(scope="session")
def house() -> Iterator[House]:
    with opened_house() as found:
        yield found


@pytest.fixture
def guest(page: Page, house: House) -> Page:
    """A tab of somebody who is signed in at the house."""
    page.context.add_cookies(house.state)
    return page
