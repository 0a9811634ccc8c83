"""The work of staff in the admin: find, inspect, send commands, deactivate, purge."""

import json
import subprocess
import sys
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.axe import assert_accessible
from tests.e2e.sites import ROOT, Site, process_environment

pytestmark = pytest.mark.browser


def call(site: Site, token: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Send a request as the device with this token."""
    request = Request(
        f"http://127.0.0.1:{site.port}/api/v1{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    try:
        with urlopen(request) as answer:  # noqa: S310 - the URL is the site of this test
            return answer.status, json.loads(answer.read() or b"null")
    except HTTPError as refused:
        return refused.code, None


def act(page: Page, action: str) -> None:
    """Run an action on the selected rows."""
    page.get_by_label("Action:").select_option(label=action)
    page.get_by_role("button", name="Go").click()


def create_fleet(site: Site) -> dict[str, Any]:
    """Create the devices of tests.e2e.fleet on the site and return what it prints."""
    environment = process_environment() | {
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
    """Find a device from the admin's index, by a serial number in the metadata."""
    page.goto(f"{site.url}/admin/")
    expect(page.locator("#figure-devices")).to_be_visible()
    assert_accessible(page)
    page.get_by_role("link", name="Devices").first.click()
    page.get_by_role("searchbox", name="Search", exact=True).fill("BX-1007")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("#result_list tbody tr")).to_have_count(1)
    assert_accessible(page)
    page.get_by_role("link", name=name).click()


def inspect(page: Page) -> None:
    """Check the charts and the readings of the open device."""
    expect(page.locator("figure[data-key='drive.rpm'] canvas")).to_be_visible()
    expect(page.locator("#panel-values + .of")).to_contain_text("drive")
    assert_accessible(page)
    page.get_by_role("link", name="All readings").click()
    expect(page.locator("#result_list tbody tr")).to_have_count(50)
    assert_accessible(page)


def select_all(site: Site, page: Page, query: str) -> None:
    """Select every device of the list with this query."""
    page.goto(f"{site.url}/admin/devices/device/?{query}")
    page.locator("#action-toggle").check()


def send_to_all(site: Site, page: Page) -> None:
    select_all(site, page, "type=pump")
    act(page, "Send a command …")
    page.get_by_label("Speed").fill("1200")
    assert_accessible(page)
    page.get_by_role("button", name="Send to 50 devices").click()
    expect(page.locator("#results [role=status]")).to_contain_text("50 pending")
    assert_accessible(page)


def watch_result(site: Site, page: Page, token: str) -> None:
    """Execute a command as the device with this token and see the result arrive on the page."""
    _, waiting = call(site, token, "GET", "/device/commands")
    command = waiting["results"][0]
    assert command["payload"] == {"rpm": 1200}
    answer = {"status": "executed", "result": {"rpm": 1200}}
    call(site, token, "PATCH", f"/device/commands/{command['id']}", answer)
    # The page is not reloaded: it polls.
    expect(page.locator("#results [role=status]")).to_contain_text("1 executed")
    expect(page.locator(f"#result-{command['id']}")).to_contain_text('{"rpm": 1200}')


def deactivate(site: Site, page: Page, token: str) -> None:
    select_all(site, page, "q=BX-1007")
    act(page, "Deactivate …")
    assert_accessible(page)
    page.get_by_role("button", name="Deactivate").click()
    expect(page.locator("#result_list .state").first).to_have_text("Deactivated")
    assert call(site, token, "GET", "/device")[0] == 401


def purge_all(site: Site, page: Page) -> None:
    select_all(site, page, "type=pump")
    act(page, "Delete permanently …")
    page.get_by_role("button", name="Delete permanently").click()
    expect(page.locator("#result_list tbody tr")).to_have_count(5)
    page.get_by_role("link", name="Deletion queue").click()
    expect(page.locator("#purging")).to_contain_text("The deletion queue is empty.")
    assert_accessible(page)


def test_staff_find_inspect_command_deactivate_and_purge_devices(site: Site, page: Page) -> None:
    site.wait_for(r"Telemetry runs at")
    fleet = create_fleet(site)
    page.context.add_cookies([{**fleet["cookie"], "url": site.url}])
    find(site, page, fleet["name"])
    inspect(page)
    send_to_all(site, page)
    watch_result(site, page, fleet["token"])
    deactivate(site, page, fleet["token"])
    purge_all(site, page)
