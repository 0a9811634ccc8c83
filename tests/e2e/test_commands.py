"""Commands in a browser: forms from the catalogue, confirmation, offline devices, several
devices.
"""

import json

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.sites import DemoSite

pytestmark = pytest.mark.browser

SCHEMA = {
    "required": ["target"],
    "properties": {
        "target": {"title": "Target", "type": "number", "minimum": 5, "maximum": 30},
        "place": {"title": "Place", "properties": {"floor": {"title": "Floor", "type": "integer"}}},
    },
}
NOTHING = {"type": "object", "additionalProperties": False}


@pytest.fixture
def tab(owner_page: Page) -> Page:
    """Return a second tab: browsers log an error for the 422 response to an invalid form."""
    return owner_page.context.new_page()


def add_command_type(tab: Page, demo_site: DemoSite, name: str, title: str, schema: object) -> None:
    """Add a command of weather stations to the catalogue in the admin."""
    tab.goto(f"{demo_site.url}/admin/commands/commandtype/?q={name}")
    if tab.locator("#result_list").count():
        return
    tab.goto(f"{demo_site.url}/admin/commands/commandtype/add/")
    tab.locator("[name=device_type]").fill("weather")
    tab.locator("[name=command_name]").fill(name)
    tab.locator("[name=title]").fill(title)
    tab.locator("[name=payload_schema]").fill(json.dumps(schema))
    tab.locator("[name=confirm]").set_checked(schema is NOTHING)
    tab.get_by_role("button", name="Save", exact=True).click()
    tab.wait_for_url("**/commandtype/")


def test_an_invalid_payload_shows_its_error_at_the_field_and_a_command_waits_for_an_offline_device(
    tab: Page, demo_site: DemoSite
) -> None:
    add_command_type(tab, demo_site, "set", "Set the target", SCHEMA)
    tab.goto(demo_site.device("Mast", "/commands?command=set"))
    target = tab.get_by_role("spinbutton", name="Target")
    target.fill("77")
    tab.get_by_role("spinbutton", name="Floor").fill("3")
    tab.locator("#send").click()
    expect(tab.locator(".field", has=target).locator(".errors")).to_have_text("Must be at most 30.")
    expect(target).to_be_focused()
    expect(tab.get_by_role("spinbutton", name="Floor")).to_have_value("3")

    target.fill("21.5")
    tab.get_by_label("Give up after").select_option("1 day")
    tab.locator("#send").click()
    sent = tab.locator("#command-list .commands > li").first
    expect(sent).to_contain_text('"target": 21.5')
    expect(sent).to_contain_text("Device offline")

    sent.get_by_role("link", name="set").click()
    story = tab.locator("#timeline")
    expect(story).to_contain_text("The device is offline.")
    expect(story.locator(".until")).to_contain_text("in 23 h")
    story.get_by_role("button", name="Cancel").click()
    expect(story).to_contain_text("It was cancelled.")
    story.get_by_role("button", name="Send again").click()
    expect(story.locator(".state")).to_have_text("Pending")
    expect(story).to_contain_text("Sent again (earlier command)")


def test_a_command_with_required_confirmation_opens_a_dialog_first(
    tab: Page, demo_site: DemoSite
) -> None:
    add_command_type(tab, demo_site, "reset", "Reset to factory settings", NOTHING)
    tab.goto(demo_site.device("Mast", "/commands?command=reset"))
    question = tab.get_by_role("dialog", name="Send “Reset to factory settings” to Mast?")
    tab.locator("#send").click()
    expect(question).to_be_visible()
    question.get_by_role("button", name="Back").click()
    expect(question).to_be_hidden()
    tab.locator("#send").click()
    question.get_by_role("button", name="Send command").click()
    expect(tab.get_by_role("status").filter(has_text="Sent reset.")).to_be_visible()
    expect(tab.locator("#command-list .name").first).to_have_text("reset")


def test_without_javascript_the_confirmation_is_a_page(
    tab: Page, demo_site: DemoSite, chromium: Browser
) -> None:
    add_command_type(tab, demo_site, "reset", "Reset to factory settings", NOTHING)
    plain = chromium.new_context(java_script_enabled=False)
    plain.add_cookies(demo_site.state)
    page = plain.new_page()
    page.goto(demo_site.device("Mast", "/commands?command=reset"))
    page.locator("#send").click()
    expect(page.get_by_role("heading", name="Confirm command")).to_be_visible()
    page.locator("#confirmed").click()
    page.wait_for_url("**/devices/*#commands")
    plain.close()


def test_a_command_sent_to_several_devices_is_cancelled_at_once(
    tab: Page, demo_site: DemoSite
) -> None:
    tab.goto(f"{demo_site.url}/commands/many?device_type=climate")
    expect(tab.locator("[name=devices]")).to_have_count(5)
    tab.get_by_label("All").uncheck()
    for name in ("Attic", "Cold store"):
        tab.get_by_role("checkbox", name=name).check()
    tab.get_by_role("textbox", name="Command").fill("calibrate")
    tab.locator("#send").click()
    expect(tab.get_by_role("heading", name="Send “calibrate” to 2 devices?")).to_be_visible()
    tab.locator("#confirmed").click()
    tab.wait_for_url("**/commands/batches/*")
    assert tab.locator("#batch .counts dd").all_inner_texts() == ["0", "2", "0", "0"]
    tab.get_by_role("button", name="Cancel 2 pending commands").click()
    expect(tab.locator("#batch .counts dd").nth(2)).to_have_text("2")
    assert tab.locator("#batch .counts dd").all_inner_texts() == ["0", "0", "2", "0"]
