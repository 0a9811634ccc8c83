"""From the start command to a device that executes commands: real processes, a real browser."""

import platform
from itertools import pairwise

import pytest
from playwright.sync_api import Page, Response, expect

from common import timestamps
from tests.e2e.conditions import wait_until
from tests.e2e.sites import Site

pytestmark = pytest.mark.browser


def sign_in(site: Site, page: Page) -> None:
    """Open the sign-in link that the site prints and press its button."""
    page.goto(site.wait_for(r"Open\s+(\S+/sign-in/link/\S+)")[1])
    page.get_by_role("button", name="Sign in as admin").click()
    page.wait_for_url(f"{site.url}/")


def open_this_computer(page: Page) -> str:
    """Open the page of the first device and return its id."""
    page.get_by_role("link", name=platform.node()).click()
    page.wait_for_url("**/devices/*")
    return page.url.rsplit("/", 1)[1]


def send(page: Page, command_name: str, payload: str) -> None:
    """Send a command with the form on the page."""
    page.locator("[name=command_name]").fill(command_name)
    page.locator("[name=payload]").fill(payload)
    page.get_by_role("button", name="Send command", exact=True).click()
    expect(page.locator("#command-list .name").first).to_have_text(command_name)


def all_readings(site: Site, page: Page, device_id: str) -> list[dict[str, str]]:
    """Return every reading of a device, oldest first, from the API."""
    found: list[dict[str, str]] = []
    cursor = ""
    while True:
        url = f"{site.url}/api/v1/devices/{device_id}/telemetry?order=asc&limit=1000{cursor}"
        answer = page.request.get(url).json()
        found += answer["results"]
        if answer["next"] is None:
            return found
        cursor = f"&cursor={answer['next']}"


LISTEN = """() => {
    window.heard = new Set();
    document.addEventListener("telemetry:event", (event) => heard.add(event.detail.kind));
}"""
HIDE = """() => {
    Object.defineProperty(document, "hidden", { value: true });
    document.dispatchEvent(new Event("visibilitychange"));
}"""


def points_of(response: Response) -> int:
    return sum(sum(columns["count"]) for columns in response.json()["series"].values())


def test_after_one_start_command_a_chart_is_live_and_the_device_executes_commands(
    site: Site, page: Page
) -> None:
    sign_in(site, page)
    assert "tsl_" not in page.url

    with page.expect_response("**/telemetry/series*") as first:
        open_this_computer(page)
    expect(page.locator("figure[data-key='cpu.percent'] canvas")).to_be_visible()
    expect(page.locator("#now")).to_contain_text("online", ignore_case=True)
    seen = points_of(first.value)
    page.wait_for_event(
        "response", lambda answer: "/telemetry/series" in answer.url and points_of(answer) > seen
    )

    page.evaluate(LISTEN)
    send(page, "set_interval", '{"seconds": 1}')
    newest = page.locator("#command-list .commands > li").first
    expect(newest.locator(".state")).to_have_text("Executed")
    expect(newest).to_contain_text('"seconds": 1')
    send(page, "make_coffee", "{}")
    expect(newest.locator(".state")).to_have_text("Failed")
    expect(newest).to_contain_text("unknown command")
    # The page received events and did not only poll. A hidden page closes its event stream.
    wait_until(page, "heard.has('command') && heard.has('reading')")
    with page.expect_event("requestfailed", lambda request: "/api/v1/events" in request.url):
        page.evaluate(HIDE)

    page.get_by_role("button", name="Account of admin").click()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(f"{site.url}/sign-in*")
    page.goto(f"{site.url}/")
    assert "/sign-in" in page.url

    assert site.stop() == 0
    assert not (site.data_dir / "postgres" / "postmaster.pid").exists()


def test_a_killed_server_loses_no_reading_and_a_restart_keeps_all_readings(
    site: Site, page: Page
) -> None:
    sign_in(site, page)
    device_id = open_this_computer(page)
    send(page, "set_interval", '{"seconds": 1}')
    expect(page.locator("#command-list .state").first).to_have_text("Executed")
    fast_from = all_readings(site, page, device_id)[-1]["recorded_at"]

    page.goto("about:blank")
    site.kill("granian")
    site.wait_for(r"device .*the site is back: \d+ readings sent")
    page.goto(f"{site.url}/devices/{device_id}")
    send(page, "ping", "{}")
    expect(page.locator("#command-list .state").first).to_have_text("Executed")

    kept = all_readings(site, page, device_id)
    measured = [
        timestamps.parse(reading["recorded_at"])
        for reading in kept
        if reading["telemetry_type"] == "cpu" and reading["recorded_at"] > fast_from
    ]
    assert len(measured) >= 2
    gaps = [(after - before).total_seconds() for before, after in pairwise(measured)]
    assert max(gaps) < 1.9, "a sample of one second is missing"
    kinds = {reading["telemetry_type"] for reading in kept}
    for instant in {reading["recorded_at"] for reading in kept[-len(measured) :]}:
        there = {reading["telemetry_type"] for reading in kept if reading["recorded_at"] == instant}
        assert there == kinds, f"of {instant} only {there} arrived"

    page.goto("about:blank")
    assert site.stop() == 0
    again = Site(site.data_dir)
    try:
        again.wait_for(r"Telemetry runs at")
        page.goto(again.wait_for(r"Open\s+(\S+)")[1])
        page.get_by_role("button", name="Sign in as admin").click()
        open_this_computer(page)
        ids = {reading["id"] for reading in all_readings(again, page, device_id)}
        assert {reading["id"] for reading in kept} <= ids
        page.goto("about:blank")
    finally:
        again.stop()
