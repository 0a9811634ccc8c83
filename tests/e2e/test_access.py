"""Who gets in, with what, and for how long: as people see it in their browsers."""

import re
import subprocess
import time

import pyotp
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.seed import OTHERS, PASSWORD
from tests.e2e.sites import House

pytestmark = pytest.mark.browser


def sign_in(house: House, page: Page, name: str) -> None:
    page.goto(f"{house.url}/sign-in")
    page.locator("[name=username]").fill(name)
    page.locator("[name=password]").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()


def sign_out(page: Page, name: str) -> None:
    page.get_by_role("button", name=f"Account of {name}").click()
    page.get_by_role("button", name="Sign out", exact=True).click()
    page.wait_for_url("**/sign-in*")


def curl(house: House, token: str, *more: str) -> int:
    """The status that a program on the command line gets."""
    command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", *more]
    command += ["-H", f"Authorization: Bearer {token}", f"{house.url}/api/v1/devices"]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_a_second_factor_is_set_up_and_asked_for(house: House, page: Page) -> None:
    somebody, _ = OTHERS
    sign_in(house, page, somebody)
    page.wait_for_url(f"{house.url}/")
    page.goto(f"{house.url}/account/second-factor")
    page.get_by_role("link", name="Set it up").click()
    expect(page.locator("img.qr")).to_be_visible()
    assert page.locator("img.qr").evaluate("picture => picture.naturalWidth") > 100
    phone = pyotp.TOTP(page.locator("#key").text_content() or "")
    page.locator("[name=code]").fill(phone.now())
    page.locator("[name=password]").fill(PASSWORD)
    page.get_by_role("button", name="Switch on").click()
    codes = (page.locator("#codes").text_content() or "").split()
    assert len(codes) == 10

    sign_out(page, somebody)
    sign_in(house, page, somebody)
    page.wait_for_url("**/sign-in/code")
    page.goto(f"{house.url}/admin/")
    assert "/sign-in" in page.url
    page.goto(f"{house.url}/sign-in/code")
    page.locator("[name=code]").fill(codes[0])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{house.url}/")

    # The code of half a minute ahead, for the one of now may be the one it was set up with.
    sign_out(page, somebody)
    sign_in(house, page, somebody)
    page.locator("[name=code]").fill(phone.at(time.time() + 30))
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{house.url}/")
    page.goto(f"{house.url}/account/second-factor")
    expect(page.locator("#main")).to_contain_text("9 recovery codes are left")


def test_tokens_and_sessions_are_made_and_ended(
    house: House, page: Page, chromium: Browser
) -> None:
    _, somebody = OTHERS
    sign_in(house, page, somebody)
    page.wait_for_url(f"{house.url}/")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"{house.url}/tokens/new")
    page.locator("[name=label]").fill("Backup on the NAS")
    page.locator("[name=access]").select_option("read")
    page.get_by_role("button", name="Make token").click()
    page.get_by_role("button", name="Copy").first.click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    token = page.evaluate("navigator.clipboard.readText()")
    assert re.fullmatch(r"tsu_\w{49}", token)
    assert curl(house, token) == 200
    assert curl(house, token, "-d", "{}", "-H", "Content-Type: application/json") == 403

    page.get_by_role("link", name="Done").click()
    expect(page.locator("#main")).not_to_contain_text(token)
    page.get_by_role("link", name=re.compile("^Revoke .*Backup on the NAS")).click()
    page.get_by_role("button", name="Revoke").click()
    expect(page.locator("#main")).to_contain_text("The token is revoked.")
    assert curl(house, token) == 401

    elsewhere = chromium.new_context()
    other = elsewhere.new_page()
    sign_in(house, other, somebody)
    other.wait_for_url(f"{house.url}/")
    page.goto(f"{house.url}/account/sessions")
    expect(page.locator(".sessions li")).to_have_count(2)
    page.get_by_role("button", name=re.compile("^Sign out .+ on ")).click()
    expect(page.locator(".sessions li")).to_have_count(1)
    other.goto(f"{house.url}/")
    assert "/sign-in" in other.url
    page.goto(f"{house.url}/")
    assert page.url == f"{house.url}/"
    elsewhere.close()
