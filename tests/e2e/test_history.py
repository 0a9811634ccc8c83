"""Looking at the past of a device: with a mouse, with keys alone, and by addresses."""

import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Locator, Page, Request, Route, expect

from common import timestamps
from tests.e2e.sites import House

pytestmark = pytest.mark.browser

GREENHOUSE = "Greenhouse, north end"
PLOT = "figure[data-key='climate.battery_voltage'] .plot"


def asked(page: Page) -> dict[str, list[str]]:
    """What the address asks for."""
    return parse_qs(urlsplit(page.url).query)


def length(page: Page) -> float:
    """Seconds between the `from` and the `to` of the address."""
    query = asked(page)
    return (timestamps.parse(query["to"][0]) - timestamps.parse(query["from"][0])).total_seconds()


def drawn(page: Page) -> Locator:
    """The charts, once what they show is what was asked for."""
    charts = page.locator("telemetry-history")
    expect(charts).not_to_have_attribute("aria-busy", "true")
    expect(charts.locator("canvas").first).to_be_visible()
    return charts


def drag(page: Page, start: float, end: float, *, shift: bool = False) -> None:
    """Across a chart, from one share of its width to another."""
    box = page.locator(f"{PLOT} .u-over").bounding_box()
    assert box
    y = box["y"] + box["height"] / 2
    if shift:
        page.keyboard.down("Shift")
    page.mouse.move(box["x"] + box["width"] * start, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * (start + end) / 2, y)
    page.mouse.move(box["x"] + box["width"] * end, y)
    page.mouse.up()
    if shift:
        page.keyboard.up("Shift")


def test_a_reading_that_comes_is_shown_before_the_next_look(guest: Page, house: House) -> None:
    guest.clock.install()
    guest.goto(house.device(GREENHOUSE, "/history?range=1h"))
    guest.clock.run_for(500)
    drawn(guest)
    asked_for: list[str] = []
    guest.on("request", lambda request: asked_for.append(request.url))
    tell = "document.dispatchEvent(new CustomEvent('telemetry:event', {detail: {kind: '%s'}}))"
    guest.evaluate(tell % "command")
    guest.clock.run_for(2000)
    assert not [url for url in asked_for if "/series" in url]
    guest.evaluate(tell % "reading")
    with guest.expect_request("**/telemetry/series?*"):
        guest.clock.run_for(1000)


@pytest.fixture
def opened(guest: Page, house: House) -> Page:
    """The history of the greenhouse over 24 hours."""
    guest.goto(house.device(GREENHOUSE, "/history?range=24h"))
    drawn(guest)
    return guest


def test_a_range_is_in_the_address_and_back_forward_and_reload_keep_it(opened: Page) -> None:
    opened.get_by_role("link", name="7 d", exact=True).click()
    opened.wait_for_url("**range=7d")
    expect(opened.locator(".words")).to_have_text("The last 7 days")
    expect(opened.locator(".resolution")).to_contain_text("mean per")
    opened.go_back()
    expect(opened.locator(".words")).to_have_text("The last 24 hours")
    opened.go_forward()
    expect(opened.locator(".words")).to_have_text("The last 7 days")
    opened.reload()
    expect(opened.locator(".words")).to_have_text("The last 7 days")
    expect(opened.locator(".ranges [aria-current]")).to_have_text("7 d")


def test_a_dragged_part_is_fetched_finer_and_can_be_shared(opened: Page, house: House) -> None:
    with opened.expect_request("**/telemetry/series*") as told:
        drag(opened, 0.75, 0.8)
    opened.wait_for_url("**from=*")
    assert 0.04 * 86400 < length(opened) < 0.06 * 86400
    assert parse_qs(urlsplit(told.value.url).query)["to"][0][:19] == asked(opened)["to"][0][:19]
    drawn(opened)
    words = opened.locator(".words").inner_text()
    shared = opened.context.new_page()
    shared.goto(opened.url)
    drawn(shared)
    expect(shared.locator(".words")).to_have_text(words)
    opened.go_back()
    expect(opened.locator(".words")).to_have_text("The last 24 hours")


def test_a_zoom_pauses_and_now_is_one_click_away(opened: Page) -> None:
    jump = opened.get_by_role("link", name="Jump to now")
    expect(jump).to_be_hidden()
    drag(opened, 0.2, 0.6)
    drawn(opened)
    expect(jump).to_be_visible()
    jump.click()
    expect(jump).to_be_hidden()
    assert re.fullmatch(r"\d+s", asked(opened)["range"][0])


def test_shift_and_a_drag_move_what_is_shown(opened: Page) -> None:
    drag(opened, 0.4, 0.9, shift=True)
    opened.wait_for_url("**from=*")
    assert length(opened) == 86400


def test_keys_alone_move_zoom_and_read(opened: Page) -> None:
    opened.locator(PLOT).focus()
    opened.keyboard.press("+")
    opened.wait_for_url("**range=43200s")
    opened.keyboard.press("ArrowLeft")
    opened.wait_for_url("**from=*")
    assert length(opened) == 43200
    opened.keyboard.press("-")
    opened.wait_for_url("**range=24h")
    drawn(opened)
    opened.keyboard.press("Shift+ArrowLeft")
    expect(opened.locator("figure[data-key='climate.battery_voltage'] .readout b")).to_be_visible()


def test_the_wheel_zooms_about_the_pointer_with_ctrl_and_scrolls_without(opened: Page) -> None:
    before = opened.url
    plot = opened.locator(PLOT)
    plot.hover()
    opened.mouse.wheel(0, -100)
    assert opened.url == before
    opened.keyboard.down("Control")
    opened.mouse.wheel(0, -100)
    opened.keyboard.up("Control")
    opened.wait_for_url("**from=*")
    assert length(opened) == pytest.approx(0.8 * 86400, rel=0.01)


def test_a_finger_moves_what_is_shown(opened: Page) -> None:
    opened.locator(f"{PLOT} .u-over").evaluate(
        """(over) => {
            const { left, top, width, height } = over.getBoundingClientRect();
            const at = (share) => ({
                bubbles: true, pointerType: "touch", isPrimary: true,
                clientX: left + width * share, clientY: top + height / 2,
            });
            over.dispatchEvent(new PointerEvent("pointerdown", at(0.25)));
            over.dispatchEvent(new PointerEvent("pointermove", at(0.5)));
            over.dispatchEvent(new PointerEvent("pointerup", at(0.75)));
        }"""
    )
    opened.wait_for_url("**from=*")
    assert length(opened) == 86400
    moved = datetime.now(UTC) - timestamps.parse(asked(opened)["to"][0])
    assert moved.total_seconds() == pytest.approx(43200, rel=0.02)


def test_printed_there_are_the_charts_and_no_buttons_on_white_paper(opened: Page) -> None:
    opened.emulate_media(media="print", color_scheme="dark")
    expect(opened.locator(PLOT).locator("canvas")).to_be_visible()
    for part in (".top", ".bar", ".chips.values", ".keys-help"):
        expect(opened.locator(part).first).to_be_hidden()
    white = "getComputedStyle(document.documentElement).backgroundColor"
    assert opened.evaluate(white) in ("rgb(255, 255, 255)", "rgba(0, 0, 0, 0)")


def test_a_wish_that_is_outdated_is_given_up(opened: Page) -> None:
    held: list[Route] = []
    given_up: list[Request] = []
    opened.on("requestfailed", lambda request: given_up.append(request))
    opened.route("**/telemetry/series*", lambda route: held.append(route), times=1)
    opened.get_by_role("link", name="7 d", exact=True).click()
    expect(opened.locator("telemetry-history")).to_have_attribute("aria-busy", "true")
    expect(opened.locator(f"{PLOT} canvas")).to_be_visible()
    opened.get_by_role("link", name="6 h", exact=True).click()
    drawn(opened)
    assert [request.failure for request in given_up] == ["net::ERR_ABORTED"]
    expect(opened.locator(".words")).to_have_text("The last 6 hours")


def test_cursors_move_in_step(opened: Page) -> None:
    opened.locator(f"{PLOT} .u-over").hover()
    for readout in opened.locator(".readout b").all():
        expect(readout).to_be_visible()
    assert opened.locator(".readout b").count() == 4


def test_keys_are_chosen_by_chips_and_the_address_keeps_them(opened: Page) -> None:
    opened.locator("a.chip", has_text="humidity").click()
    expect(opened.locator("figure[data-key]")).to_have_count(3)
    opened.reload()
    drawn(opened)
    expect(opened.locator("figure[data-key]")).to_have_count(3)
    opened.locator("a.chip", has_text="humidity").click()
    expect(opened.locator("figure[data-key='climate.humidity'] canvas")).to_be_visible()
    expect(opened.locator("figure[data-key='climate.humidity'] [data-stat=mean]")).to_contain_text(
        "%"
    )


def test_the_charts_are_a_table_too(opened: Page) -> None:
    opened.get_by_text("Show as a table").click()
    table = opened.locator(".table table")
    expect(table.locator("th")).to_have_count(5)
    expect(table.locator("tbody tr").first).to_be_visible()


def test_a_download_is_of_what_is_shown(opened: Page) -> None:
    drag(opened, 0.8, 0.9)
    opened.wait_for_url("**from=*")
    opened.locator("summary", has_text="Download").click()
    with opened.expect_download() as file:
        opened.get_by_role("link", name="Readings CSV").click()
    rows = file.value.path().read_text().splitlines()
    assert rows[0].startswith("recorded_at,climate.battery_voltage")
    start, end = (timestamps.parse(asked(opened)[name][0]) for name in ("from", "to"))
    assert start <= timestamps.parse(rows[1].partition(",")[0]) < end
    assert len(rows) > 30


def test_a_custom_range_is_in_the_time_of_the_user(opened: Page) -> None:
    opened.locator("summary", has_text="Custom").click()
    opened.get_by_label("From", exact=True).fill("2026-11-01T10:00")
    opened.get_by_label("To", exact=True).fill("2026-11-02T10:00")
    opened.get_by_role("button", name="Show", exact=True).click()
    opened.wait_for_url("**from=2026-11-01T10:00:00Z&to=2026-11-02T10:00:00Z*")
    expect(opened.locator(".plot").first).to_have_attribute("data-empty", "No values in this range")


def test_what_cannot_be_loaded_is_told_and_tried_again(guest: Page, house: House) -> None:
    broken: Any = lambda route: route.abort()  # noqa: E731
    guest.context.route("**/telemetry/series*", broken)
    tab = guest.context.new_page()
    tab.goto(house.device(GREENHOUSE, "/history"))
    expect(tab.get_by_role("alert")).to_contain_text("The site cannot be reached")
    tab.close()


def test_without_javascript_nothing_is_lost(chromium: Any, house: House) -> None:
    context = chromium.new_context(java_script_enabled=False)
    context.add_cookies(house.state)
    tab = context.new_page()
    tab.goto(house.device(GREENHOUSE, "/history?range=24h"))
    expect(tab.locator("figure[data-key='climate.temperature'] [data-stat=mean]")).to_contain_text(
        "°C"
    )
    expect(tab.locator("table.readings tbody tr")).to_have_count(50)
    tab.get_by_role("link", name="Earlier").click()
    expect(tab.locator(".words")).to_contain_text(" to ")
    tab.locator("a.chip", has_text="humidity").click()
    expect(tab.locator("figure[data-key]")).to_have_count(3)
    context.close()
