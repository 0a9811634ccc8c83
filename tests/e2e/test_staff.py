"""A day of staff in the admin: find, look, send, watch, shut out, purge."""

import json
import subprocess
import sys
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.axe import keeps_nobody_out
from tests.e2e.sites import ROOT, Site, surroundings

pytestmark = pytest.mark.browser


def call(site: Site, token: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """As the device with this token."""
    request = Request(
        f"http://127.0.0.1:{site.port}/api/v1{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    try:
        with urlopen(request) as answer:  # noqa: S310 - the site of this test
            return answer.status, json.loads(answer.read() or b"null")
    except HTTPError as refused:
        return refused.code, None


def act(page: Page, action: str) -> None:
    """Take one of the actions on what is ticked."""
    page.get_by_label("Action:").select_option(label=action)
    page.get_by_role("button", name="Go").click()


def made_fleet(site: Site) -> dict[str, Any]:
    """What tests.e2e.fleet tells of the devices that it has made on the site."""
    environment = surroundings() | {
        "DATA_DIR": str(site.data_dir),
        "DATABASE_URL": "",
        "PORT": str(site.port),
    }
    told = subprocess.run(
        [sys.executable, "-m", "tests.e2e.fleet"],
        cwd=ROOT,
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
    )
    fleet: dict[str, Any] = json.loads(told.stdout)
    return fleet


def find(site: Site, page: Page, name: str) -> None:
    """From the first page of the admin, by a serial number in the metadata."""
    page.goto(f"{site.url}/admin/")
    expect(page.locator("#figure-devices")).to_be_visible()
    keeps_nobody_out(page)
    page.get_by_role("link", name="Devices").first.click()
    page.get_by_role("searchbox", name="Search", exact=True).fill("BX-1007")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("#result_list tbody tr")).to_have_count(1)
    keeps_nobody_out(page)
    page.get_by_role("link", name=name).click()


def look(page: Page) -> None:
    """At the charts and the readings of the device that is open."""
    expect(page.locator("figure[data-key='drive.rpm'] canvas")).to_be_visible()
    expect(page.locator("#panel-values + .of")).to_contain_text("drive")
    keeps_nobody_out(page)
    page.get_by_role("link", name="All readings").click()
    expect(page.locator("#result_list tbody tr")).to_have_count(50)
    keeps_nobody_out(page)


def tick_all(site: Site, page: Page, query: str) -> None:
    """Every device of the list that the query leaves."""
    page.goto(f"{site.url}/admin/devices/device/?{query}")
    page.locator("#action-toggle").check()


def send_to_all(site: Site, page: Page) -> None:
    tick_all(site, page, "type=pump")
    act(page, "Send a command …")
    page.get_by_label("Speed").fill("1200")
    keeps_nobody_out(page)
    page.get_by_role("button", name="Send to 50 devices").click()
    expect(page.locator("#results [role=status]")).to_contain_text("50 waiting")
    keeps_nobody_out(page)


def watch_the_answer(site: Site, page: Page, token: str) -> None:
    """Of the device with this token, as it comes in."""
    _, waiting = call(site, token, "GET", "/device/commands")
    command = waiting["results"][0]
    assert command["payload"] == {"rpm": 1200}
    answer = {"status": "executed", "result": {"rpm": 1200}}
    call(site, token, "PATCH", f"/device/commands/{command['id']}", answer)
    # Nobody reloads: the page looks by itself.
    expect(page.locator("#results [role=status]")).to_contain_text("1 executed")
    expect(page.locator(f"#result-{command['id']}")).to_contain_text('{"rpm": 1200}')


def shut_out(site: Site, page: Page, token: str) -> None:
    tick_all(site, page, "q=BX-1007")
    act(page, "Deactivate …")
    keeps_nobody_out(page)
    page.get_by_role("button", name="Deactivate").click()
    expect(page.locator("#result_list .state").first).to_have_text("Deactivated")
    assert call(site, token, "GET", "/device")[0] == 401


def purge_all(site: Site, page: Page) -> None:
    tick_all(site, page, "type=pump")
    act(page, "Purge …")
    page.get_by_role("button", name="Purge for good").click()
    expect(page.locator("#result_list tbody tr")).to_have_count(5)
    page.get_by_role("link", name="Being purged").click()
    expect(page.locator("#purging")).to_contain_text("Nothing is left to be removed.")
    keeps_nobody_out(page)


def test_a_device_is_found_told_shut_out_and_purged(site: Site, page: Page) -> None:
    site.wait_for(r"Telemetry runs at")
    fleet = made_fleet(site)
    page.context.add_cookies([{**fleet["cookie"], "url": site.url}])
    find(site, page, fleet["name"])
    look(page)
    send_to_all(site, page)
    watch_the_answer(site, page, fleet["token"])
    shut_out(site, page, fleet["token"])
    purge_all(site, page)
