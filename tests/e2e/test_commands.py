"""Commands in a browser: forms of the catalogue, the question, one that waits, many at once."""

import json

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.sites import House

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
def tab(guest: Page) -> Page:
    """Another tab: browsers complain of the answer to a form with faults, as they should not."""
    return guest.context.new_page()


def describe(tab: Page, house: House, name: str, title: str, schema: object) -> None:
    """Put a command of weather stations into the catalogue, as staff do."""
    tab.goto(f"{house.url}/admin/commands/commandtype/?q={name}")
    if tab.locator("#result_list").count():
        return
    tab.goto(f"{house.url}/admin/commands/commandtype/add/")
    tab.locator("[name=device_type]").fill("weather")
    tab.locator("[name=command_name]").fill(name)
    tab.locator("[name=title]").fill(title)
    tab.locator("[name=payload_schema]").fill(json.dumps(schema))
    tab.locator("[name=confirm]").set_checked(schema is NOTHING)
    tab.get_by_role("button", name="Save", exact=True).click()
    tab.wait_for_url("**/commandtype/")


def test_a_fault_is_told_at_its_field_and_a_command_waits_for_a_device_that_is_away(
    tab: Page, house: House
) -> None:
    describe(tab, house, "set", "Set the target", SCHEMA)
    tab.goto(house.device("Mast", "/commands?command=set"))
    target = tab.get_by_role("spinbutton", name="Target")
    target.fill("77")
    tab.get_by_role("spinbutton", name="Floor").fill("3")
    tab.locator("#send").click()
    expect(tab.locator(".field", has=target).locator(".errors")).to_have_text("At most 30.")
    expect(target).to_be_focused()
    expect(tab.get_by_role("spinbutton", name="Floor")).to_have_value("3")

    target.fill("21.5")
    tab.get_by_label("Waits for the device at most").select_option("1 day")
    tab.locator("#send").click()
    sent = tab.locator("#command-list .commands > li").first
    expect(sent).to_contain_text('"target": 21.5')
    expect(sent).to_contain_text("Offline")

    sent.get_by_role("link", name="set").click()
    story = tab.locator("#timeline")
    expect(story).to_contain_text("The device is offline.")
    expect(story.locator(".until")).to_contain_text("in 23 h")
    story.get_by_role("button", name="Cancel").click()
    expect(story).to_contain_text("It was cancelled.")
    story.get_by_role("button", name="Send again").click()
    expect(story.locator(".state")).to_have_text("Waiting")
    expect(story).to_contain_text("Sent again after an earlier one")


def test_what_the_catalogue_wants_confirmed_is_asked_first(tab: Page, house: House) -> None:
    describe(tab, house, "reset", "Reset to factory settings", NOTHING)
    tab.goto(house.device("Mast", "/commands?command=reset"))
    question = tab.get_by_role("dialog", name="Send “Reset to factory settings” to Mast?")
    tab.locator("#send").click()
    expect(question).to_be_visible()
    question.get_by_role("button", name="Back").click()
    expect(question).to_be_hidden()
    tab.locator("#send").click()
    question.get_by_role("button", name="Send").click()
    expect(tab.get_by_role("status").filter(has_text="Sent reset.")).to_be_visible()
    expect(tab.locator("#command-list .name").first).to_have_text("reset")


def test_without_scripts_it_is_asked_on_a_page(tab: Page, house: House, chromium: Browser) -> None:
    describe(tab, house, "reset", "Reset to factory settings", NOTHING)
    plain = chromium.new_context(java_script_enabled=False)
    plain.add_cookies(house.state)
    page = plain.new_page()
    page.goto(house.device("Mast", "/commands?command=reset"))
    page.locator("#send").click()
    expect(page.get_by_role("heading", name="Are you sure?")).to_be_visible()
    page.locator("#confirmed").click()
    page.wait_for_url("**/devices/*#commands")
    plain.close()


def test_one_command_goes_to_many_and_is_cancelled_as_one(tab: Page, house: House) -> None:
    tab.goto(f"{house.url}/commands/many?device_type=climate")
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
    tab.get_by_role("button", name="Cancel the 2 that are pending").click()
    expect(tab.locator("#batch .counts dd").nth(2)).to_have_text("2")
    assert tab.locator("#batch .counts dd").all_inner_texts() == ["0", "0", "2", "0"]
