"""The German interface, where only a browser can check it."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conditions import NO_HORIZONTAL_SCROLL, wait_until, wait_until_loaded
from tests.e2e.sites import DemoSite
from tests.e2e.test_every_page import GREENHOUSE, PAGES, address
from tests.e2e.test_history import wait_for_charts

pytestmark = pytest.mark.browser

WIDE = [
    *("/account", "/account/sessions", "/tokens", "/sign-in"),
    *(PAGES[name] for name in ("devices", "device", "history", "connect", "send to many", "help")),
]


@pytest.fixture
def locale() -> str:
    return "de-DE"


def test_a_german_browser_gets_german_pages_and_charts(page: Page, demo_site: DemoSite) -> None:
    page.goto(f"{demo_site.url}/sign-in")
    page.get_by_label("Benutzername oder E-Mail").fill("admin")
    page.get_by_label("Passwort", exact=True).fill("correct horse battery staple")
    page.get_by_role("button", name="Anzeigen").click()
    page.get_by_role("button", name="Verbergen").click()
    page.get_by_role("button", name="Anmelden").click()
    expect(page.get_by_role("heading", name="Geräte")).to_be_visible()
    ages = page.locator("time[data-ago]")
    expect(ages.first).to_have_text(re.compile(r"^(vor \d+ (s|min|h|d)|jetzt)$"))
    page.goto(demo_site.device(GREENHOUSE, "/history?range=7d&key=climate.temperature"))
    charts = wait_for_charts(page)
    expect(charts.locator(".words")).to_have_text("Die letzten 7 Tage")
    expect(charts.locator(".resolution")).to_contain_text("Linie: Durchschnitt je")
    expect(charts.locator("[data-stat=min]")).to_have_text(re.compile(r"^\d+,\d+\s°C$"))
    expect(charts.locator("[data-stat=count]")).to_have_text(re.compile(r"^\d\u202f\d{3}$"))
    label = re.compile(r": \d+,\d+\s°C bis \d+,\d+\s°C, Durchschnitt ")
    expect(charts.locator(".plot").first).to_have_attribute("aria-label", label)


@pytest.mark.parametrize("path", WIDE)
def test_german_texts_fit_on_a_phone(owner_page: Page, demo_site: DemoSite, path: str) -> None:
    owner_page.set_viewport_size({"width": 360, "height": 740})
    owner_page.goto(address(demo_site, path))
    wait_until_loaded(owner_page)
    expect(owner_page.locator("html")).to_have_attribute("lang", "de")
    # Charts are resized a moment later.
    wait_until(owner_page, NO_HORIZONTAL_SCROLL)
