"""What holds on every page: for every eye, at every width, whatever it is called."""

import pytest
from playwright.sync_api import Page

from tests.e2e.axe import keeps_nobody_out
from tests.e2e.seed import HOSTILE_NAME
from tests.e2e.sites import House
from tests.e2e.waiting import FITS, settle, until

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
OUTSIDE = {
    "sign in": "/sign-in",
    "sign up": "/sign-up",
    "check your inbox": "/check-your-inbox",
    "confirm again": "/verify-email/again",
    "forgotten password": "/password-reset",
    "goodbye": "/goodbye",
}
"""Pages for who is not signed in."""
WIDTHS = [360, 768, 1440, 3840]


def address(house: House, path: str) -> str:
    names = {"greenhouse": GREENHOUSE, "mast": "Mast", "hostile": HOSTILE_NAME}
    return house.url + path.format_map({key: house.devices[name] for key, name in names.items()})


def look_for_what_is_cut(page: Page) -> None:
    """Or has to be scrolled for sideways, at any width."""
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        # Charts follow a moment later.
        until(page, FITS)


@pytest.mark.parametrize("path", PAGES.values(), ids=PAGES)
def test_nobody_is_kept_out_and_nothing_is_cut(guest: Page, house: House, path: str) -> None:
    if path == PAGES["not found"]:
        # The browser itself tells of the status.
        guest = guest.context.new_page()
    guest.goto(address(house, path))
    keeps_nobody_out(guest)
    look_for_what_is_cut(guest)


@pytest.mark.parametrize("path", OUTSIDE.values(), ids=OUTSIDE)
def test_nobody_is_kept_from_coming_in(page: Page, house: House, path: str) -> None:
    page.goto(house.url + path)
    keeps_nobody_out(page)
    look_for_what_is_cut(page)


@pytest.mark.parametrize("path", ["", "/history", "/connect", "/settings", "/keys"])
def test_a_hostile_name_is_shown_as_text(guest: Page, house: House, path: str) -> None:
    guest.goto(house.device(HOSTILE_NAME, path))
    settle(guest)
    shown = guest.locator("main").inner_text() + str(
        guest.locator("main input").evaluate_all("all => all.map(one => one.value)")
    )
    assert "<img src=x onerror=alert(1)>" in shown
    assert guest.locator("img").count() == 0


@pytest.mark.parametrize(
    ("path", "most"), [("/", 60), (PAGES["device"], 90), (PAGES["history"], 90)]
)
def test_a_first_visit_is_light(guest: Page, house: House, path: str, most: int) -> None:
    """All that goes over the wire, heads included, in KB."""
    received: list[float] = []
    network = guest.context.new_cdp_session(guest)
    network.send("Network.enable")
    network.on("Network.loadingFinished", lambda event: received.append(event["encodedDataLength"]))
    guest.goto(address(house, path))
    settle(guest)
    assert len(received) > 4
    assert sum(received) <= most * 1000


def test_nothing_comes_from_elsewhere(guest: Page, house: House) -> None:
    asked: list[str] = []
    guest.on("request", lambda request: asked.append(request.url))
    for path in ("/", PAGES["device"], PAGES["history"]):
        guest.goto(address(house, path))
        settle(guest)
    ours = (house.url, house.live_url, "data:")
    assert [url for url in asked if not url.startswith(ours)] == []


def test_the_admin_complains_of_nothing(guest: Page, house: House) -> None:
    for path in ("/admin/", "/admin/devices/device/", "/admin/telemetry/telemetry/"):
        guest.goto(house.url + path)
        settle(guest)
