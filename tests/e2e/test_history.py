"""The history page: with a mouse, with the keyboard, and by URL."""

import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Locator, Page, Request, Route, expect

from common import timestamps
from tests.e2e.sites import DemoSite

pytestmark = pytest.mark.browser

GREENHOUSE = "Greenhouse, north end"
PLOT = "figure[data-key='climate.battery_voltage'] .plot"


def query_of(page: Page) -> dict[str, list[str]]:
    """Return the query parameters of the page's URL."""
    return parse_qs(urlsplit(page.url).query)


def length(page: Page) -> float:
    """Return the seconds between `from` and `to` in the URL."""
    query = query_of(page)
    return (timestamps.parse(query["to"][0]) - timestamps.parse(query["from"][0])).total_seconds()


def wait_for_charts(page: Page) -> Locator:
    """Wait until the charts show the requested range and return them."""
    charts = page.locator("telemetry-history")
    expect(charts).not_to_have_attribute("aria-busy", "true")
    expect(charts.locator("canvas").first).to_be_visible()
    return charts


def drag(page: Page, start: float, end: float, *, shift: bool = False) -> None:
    """Drag across a chart, from one fraction of its width to another."""
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


def test_a_reading_event_updates_the_charts_before_the_next_poll(
    owner_page: Page, demo_site: DemoSite
) -> None:
    owner_page.clock.install()
    owner_page.goto(demo_site.device(GREENHOUSE, "/history?range=1h"))
    owner_page.clock.run_for(500)
    wait_for_charts(owner_page)
    asked_for: list[str] = []
    owner_page.on("request", lambda request: asked_for.append(request.url))
    tell = "document.dispatchEvent(new CustomEvent('telemetry:event', {detail: {kind: '%s'}}))"
    owner_page.evaluate(tell % "command")
    owner_page.clock.run_for(2000)
    assert not [url for url in asked_for if "/series" in url]
    owner_page.evaluate(tell % "reading")
    with owner_page.expect_request("**/telemetry/series?*"):
        owner_page.clock.run_for(1000)


@pytest.fixture
def opened(owner_page: Page, demo_site: DemoSite) -> Page:
    """Open the history of the greenhouse over 24 hours."""
    owner_page.goto(demo_site.device(GREENHOUSE, "/history?range=24h"))
    wait_for_charts(owner_page)
    return owner_page


def test_the_url_stores_the_range_for_back_forward_and_reload(opened: Page) -> None:
    opened.get_by_role("link", name="7 d", exact=True).click()
    opened.wait_for_url("**range=7d")
    expect(opened.locator(".words")).to_have_text("The last 7 days")
    expect(opened.locator(".resolution")).to_contain_text("average")
    opened.go_back()
    expect(opened.locator(".words")).to_have_text("The last 24 hours")
    opened.go_forward()
    expect(opened.locator(".words")).to_have_text("The last 7 days")
    opened.reload()
    expect(opened.locator(".words")).to_have_text("The last 7 days")
    expect(opened.locator(".ranges [aria-current]")).to_have_text("7 d")


def test_a_dragged_range_loads_finer_data_and_its_url_can_be_shared(
    opened: Page, demo_site: DemoSite
) -> None:
    with opened.expect_request("**/telemetry/series*") as told:
        drag(opened, 0.75, 0.8)
    opened.wait_for_url("**from=*")
    assert 0.04 * 86400 < length(opened) < 0.06 * 86400
    assert parse_qs(urlsplit(told.value.url).query)["to"][0][:19] == query_of(opened)["to"][0][:19]
    wait_for_charts(opened)
    words = opened.locator(".words").inner_text()
    shared = opened.context.new_page()
    shared.goto(opened.url)
    wait_for_charts(shared)
    expect(shared.locator(".words")).to_have_text(words)
    opened.go_back()
    expect(opened.locator(".words")).to_have_text("The last 24 hours")


def test_zooming_pauses_live_updates_until_jump_to_now(opened: Page) -> None:
    jump = opened.get_by_role("link", name="Jump to now")
    expect(jump).to_be_hidden()
    drag(opened, 0.2, 0.6)
    wait_for_charts(opened)
    expect(jump).to_be_visible()
    jump.click()
    expect(jump).to_be_hidden()
    assert re.fullmatch(r"\d+s", query_of(opened)["range"][0])


def test_dragging_with_shift_moves_the_range(opened: Page) -> None:
    drag(opened, 0.4, 0.9, shift=True)
    opened.wait_for_url("**from=*")
    assert length(opened) == 86400


def test_the_keyboard_moves_and_zooms_the_range_and_reads_values(opened: Page) -> None:
    opened.locator(PLOT).focus()
    opened.keyboard.press("+")
    opened.wait_for_url("**range=43200s")
    opened.keyboard.press("ArrowLeft")
    opened.wait_for_url("**from=*")
    assert length(opened) == 43200
    opened.keyboard.press("-")
    opened.wait_for_url("**range=24h")
    wait_for_charts(opened)
    opened.keyboard.press("Shift+ArrowLeft")
    expect(opened.locator("figure[data-key='climate.battery_voltage'] .readout b")).to_be_visible()


def test_the_wheel_zooms_at_the_pointer_only_with_ctrl(opened: Page) -> None:
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


def test_a_touch_drag_moves_the_range(opened: Page) -> None:
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
    moved = datetime.now(UTC) - timestamps.parse(query_of(opened)["to"][0])
    assert moved.total_seconds() == pytest.approx(43200, rel=0.02)


def test_a_printed_page_has_charts_without_buttons_on_white(opened: Page) -> None:
    opened.emulate_media(media="print", color_scheme="dark")
    expect(opened.locator(PLOT).locator("canvas")).to_be_visible()
    for part in (".top", ".bar", ".chips.values", ".keys-help"):
        expect(opened.locator(part).first).to_be_hidden()
    white = "getComputedStyle(document.documentElement).backgroundColor"
    assert opened.evaluate(white) in ("rgb(255, 255, 255)", "rgba(0, 0, 0, 0)")


def test_a_new_range_aborts_the_request_for_the_previous_one(opened: Page) -> None:
    held: list[Route] = []
    given_up: list[Request] = []
    opened.on("requestfailed", lambda request: given_up.append(request))
    opened.route("**/telemetry/series*", lambda route: held.append(route), times=1)
    opened.get_by_role("link", name="7 d", exact=True).click()
    expect(opened.locator("telemetry-history")).to_have_attribute("aria-busy", "true")
    expect(opened.locator(f"{PLOT} canvas")).to_be_visible()
    opened.get_by_role("link", name="6 h", exact=True).click()
    wait_for_charts(opened)
    assert [request.failure for request in given_up] == ["net::ERR_ABORTED"]
    expect(opened.locator(".words")).to_have_text("The last 6 hours")


def test_all_charts_show_the_values_at_the_same_time(opened: Page) -> None:
    opened.locator(f"{PLOT} .u-over").hover()
    for readout in opened.locator(".readout b").all():
        expect(readout).to_be_visible()
    assert opened.locator(".readout b").count() == 4


def test_selected_keys_are_stored_in_the_url(opened: Page) -> None:
    opened.locator("a.chip", has_text="humidity").click()
    expect(opened.locator("figure[data-key]")).to_have_count(3)
    opened.reload()
    wait_for_charts(opened)
    expect(opened.locator("figure[data-key]")).to_have_count(3)
    opened.locator("a.chip", has_text="humidity").click()
    expect(opened.locator("figure[data-key='climate.humidity'] canvas")).to_be_visible()
    expect(opened.locator("figure[data-key='climate.humidity'] [data-stat=mean]")).to_contain_text(
        "%"
    )


def test_the_charts_are_available_as_a_table(opened: Page) -> None:
    opened.get_by_text("Show as a table").click()
    table = opened.locator(".table table")
    expect(table.locator("th")).to_have_count(5)
    expect(table.locator("tbody tr").first).to_be_visible()


def test_a_download_contains_the_displayed_range(opened: Page) -> None:
    drag(opened, 0.8, 0.9)
    opened.wait_for_url("**from=*")
    opened.locator("summary", has_text="Download").click()
    with opened.expect_download() as file:
        opened.get_by_role("link", name="Readings CSV").click()
    rows = file.value.path().read_text().splitlines()
    assert rows[0].startswith("recorded_at,climate.battery_voltage")
    start, end = (timestamps.parse(query_of(opened)[name][0]) for name in ("from", "to"))
    assert start <= timestamps.parse(rows[1].partition(",")[0]) < end
    assert len(rows) > 30


def test_a_custom_range_is_in_the_time_zone_of_the_user(opened: Page) -> None:
    opened.locator("summary", has_text="Custom").click()
    opened.get_by_label("From", exact=True).fill("2026-11-01T10:00")
    opened.get_by_label("To", exact=True).fill("2026-11-02T10:00")
    opened.get_by_role("button", name="Apply", exact=True).click()
    opened.wait_for_url("**from=2026-11-01T10:00:00Z&to=2026-11-02T10:00:00Z*")
    expect(opened.locator(".plot").first).to_have_attribute("data-empty", "No values in this range")


def test_a_failed_request_for_series_shows_an_alert(owner_page: Page, demo_site: DemoSite) -> None:
    broken: Any = lambda route: route.abort()  # noqa: E731
    owner_page.context.route("**/telemetry/series*", broken)
    tab = owner_page.context.new_page()
    tab.goto(demo_site.device(GREENHOUSE, "/history"))
    expect(tab.get_by_role("alert")).to_contain_text("The site cannot be reached")
    tab.close()


def test_without_javascript_the_history_shows_values_and_readings(
    chromium: Any, demo_site: DemoSite
) -> None:
    context = chromium.new_context(java_script_enabled=False)
    context.add_cookies(demo_site.state)
    tab = context.new_page()
    tab.goto(demo_site.device(GREENHOUSE, "/history?range=24h"))
    expect(tab.locator("figure[data-key='climate.temperature'] [data-stat=mean]")).to_contain_text(
        "°C"
    )
    expect(tab.locator("table.readings tbody tr")).to_have_count(50)
    tab.get_by_role("link", name="Earlier").click()
    expect(tab.locator(".words")).to_contain_text(" to ")
    tab.locator("a.chip", has_text="humidity").click()
    expect(tab.locator("figure[data-key]")).to_have_count(3)
    context.close()
