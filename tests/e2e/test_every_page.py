"""Checks that hold for every page: accessibility, width, escaped names, size and origin of
files.
"""

import pytest
from playwright.sync_api import Page

from tests.e2e.axe import assert_accessible
from tests.e2e.conditions import NO_HORIZONTAL_SCROLL, wait_until, wait_until_loaded
from tests.e2e.seed import HOSTILE_NAME
from tests.e2e.sites import DemoSite

pytestmark = pytest.mark.browser

GREENHOUSE = "Greenhouse, north end"
EMPTY_RANGE = "from=2020-01-01T00:00:00Z&to=2020-01-02T00:00:00Z"
PAGES = {
    "devices": "/",
    "devices, none found": "/?q=nothing-is-called-so",
    "device": "/devices/{greenhouse}",
    "device, never seen": "/devices/{mast}",
    "device, hostile": "/devices/{hostile}",
    "history": "/devices/{greenhouse}/history",
    "history, nothing in range": "/devices/{greenhouse}/history?" + EMPTY_RANGE,
    "history, never seen": "/devices/{mast}/history",
    "history, hostile": "/devices/{hostile}/history",
    "connect": "/devices/{greenhouse}/connect",
    "settings": "/devices/{greenhouse}/settings",
    "names and units": "/devices/{greenhouse}/keys",
    "a key": "/devices/{greenhouse}/keys/climate.temperature",
    "add a device": "/devices/new",
    "send a command": "/devices/{greenhouse}/commands",
    "send to many": "/commands/many",
    "sent to many": "/commands/batches",
    "tokens": "/tokens",
    "a new token": "/tokens/new",
    "tokens of a device": "/devices/{greenhouse}/tokens",
    "account": "/account",
    "address": "/account/address",
    "password": "/account/password",
    "sessions": "/account/sessions",
    "activity": "/account/activity",
    "second factor": "/account/second-factor",
    "setting it up": "/account/second-factor/set-up",
    "your data": "/account/data",
    "leaving": "/account/delete",
    "help": "/help",
    "reference": "/help/api",
    "limits": "/help/limits",
    "not found": "/nothing-here",
}
PUBLIC_PAGES = {
    "sign in": "/sign-in",
    "sign up": "/sign-up",
    "check your inbox": "/check-your-inbox",
    "confirm again": "/verify-email/again",
    "forgotten password": "/password-reset",
    "goodbye": "/goodbye",
}
"""Pages for users who are not signed in."""
WIDTHS = [360, 768, 1440, 3840]


def address(demo_site: DemoSite, path: str) -> str:
    names = {"greenhouse": GREENHOUSE, "mast": "Mast", "hostile": HOSTILE_NAME}
    return demo_site.url + path.format_map(
        {key: demo_site.devices[name] for key, name in names.items()}
    )


def assert_no_horizontal_scroll(page: Page) -> None:
    """Check at every width that nothing is cut off and that the page does not scroll sideways."""
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        # Charts are resized a moment later.
        wait_until(page, NO_HORIZONTAL_SCROLL)


@pytest.mark.parametrize("path", PAGES.values(), ids=PAGES)
def test_every_page_is_accessible_and_fits_every_width(
    owner_page: Page, demo_site: DemoSite, path: str
) -> None:
    if path == PAGES["not found"]:
        # The browser logs an error for the 404 itself.
        owner_page = owner_page.context.new_page()
    owner_page.goto(address(demo_site, path))
    assert_accessible(owner_page)
    assert_no_horizontal_scroll(owner_page)


@pytest.mark.parametrize("path", PUBLIC_PAGES.values(), ids=PUBLIC_PAGES)
def test_every_public_page_is_accessible_and_fits_every_width(
    page: Page, demo_site: DemoSite, path: str
) -> None:
    page.goto(demo_site.url + path)
    assert_accessible(page)
    assert_no_horizontal_scroll(page)


@pytest.mark.parametrize("path", ["", "/history", "/connect", "/settings", "/keys"])
def test_a_device_name_with_markup_is_shown_as_text(
    owner_page: Page, demo_site: DemoSite, path: str
) -> None:
    owner_page.goto(demo_site.device(HOSTILE_NAME, path))
    wait_until_loaded(owner_page)
    shown = owner_page.locator("main").inner_text() + str(
        owner_page.locator("main input").evaluate_all("all => all.map(one => one.value)")
    )
    assert "<img src=x onerror=alert(1)>" in shown
    assert owner_page.locator("img").count() == 0


@pytest.mark.parametrize(
    ("path", "most"), [("/", 60), (PAGES["device"], 90), (PAGES["history"], 90)]
)
def test_a_first_visit_loads_few_kilobytes(
    owner_page: Page, demo_site: DemoSite, path: str, most: int
) -> None:
    """Count all bytes on the network in KB, headers included."""
    received: list[float] = []
    network = owner_page.context.new_cdp_session(owner_page)
    network.send("Network.enable")
    network.on("Network.loadingFinished", lambda event: received.append(event["encodedDataLength"]))
    owner_page.goto(address(demo_site, path))
    wait_until_loaded(owner_page)
    assert len(received) > 4
    assert sum(received) <= most * 1000


def test_pages_load_files_only_from_the_site(owner_page: Page, demo_site: DemoSite) -> None:
    asked: list[str] = []
    owner_page.on("request", lambda request: asked.append(request.url))
    for path in ("/", PAGES["device"], PAGES["history"]):
        owner_page.goto(address(demo_site, path))
        wait_until_loaded(owner_page)
    ours = (demo_site.url, demo_site.live_url, "data:")
    assert [url for url in asked if not url.startswith(ours)] == []


def test_pages_of_the_admin_log_no_error(owner_page: Page, demo_site: DemoSite) -> None:
    for path in ("/admin/", "/admin/devices/device/", "/admin/telemetry/telemetry/"):
        owner_page.goto(demo_site.url + path)
        wait_until_loaded(owner_page)
