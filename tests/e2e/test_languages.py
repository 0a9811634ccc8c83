"""In German: what only a browser can tell."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.sites import House
from tests.e2e.test_every_page import GREENHOUSE, PAGES, address
from tests.e2e.test_history import drawn
from tests.e2e.waiting import FITS, settle, until

pytestmark = pytest.mark.browser

WIDE = [
    *("/account", "/account/sessions", "/tokens", "/sign-in"),
    *(PAGES[name] for name in ("devices", "device", "history", "connect", "send to many", "help")),
]


@pytest.fixture
def locale() -> str:
    return "de-DE"


def test_who_signs_in_reads_german_down_to_the_charts(page: Page, house: House) -> None:
    page.goto(f"{house.url}/sign-in")
    page.get_by_label("Benutzername oder E-Mail").fill("admin")
    page.get_by_label("Passwort", exact=True).fill("correct horse battery staple")
    page.get_by_role("button", name="Anzeigen").click()
    page.get_by_role("button", name="Verbergen").click()
    page.get_by_role("button", name="Anmelden").click()
    expect(page.get_by_role("heading", name="Geräte")).to_be_visible()
    ages = page.locator("time[data-ago]")
    expect(ages.first).to_have_text(re.compile(r"^(vor \d+ (s|min|h|d)|jetzt)$"))
    page.goto(house.device(GREENHOUSE, "/history?range=7d&key=climate.temperature"))
    charts = drawn(page)
    expect(charts.locator(".words")).to_have_text("Die letzten 7 Tage")
    expect(charts.locator(".resolution")).to_contain_text("Linie: Mittel je")
    expect(charts.locator("[data-stat=min]")).to_have_text(re.compile(r"^\d+,\d+\s°C$"))
    expect(charts.locator("[data-stat=count]")).to_have_text(re.compile(r"^\d\u202f\d{3}$"))
    label = re.compile(r": \d+,\d+\s°C bis \d+,\d+\s°C, Mittel ")
    expect(charts.locator(".plot").first).to_have_attribute("aria-label", label)


@pytest.mark.parametrize("path", WIDE)
def test_its_longer_words_fit_on_a_phone(guest: Page, house: House, path: str) -> None:
    guest.set_viewport_size({"width": 360, "height": 740})
    guest.goto(address(house, path))
    settle(guest)
    expect(guest.locator("html")).to_have_attribute("lang", "de")
    # Charts follow a moment later.
    until(guest, FITS)
