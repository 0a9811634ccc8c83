"""Signing in with two-factor authentication, tokens and sessions, in a browser."""

import re
import subprocess
import time

import pyotp
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.seed import OTHERS, PASSWORD
from tests.e2e.sites import DemoSite

pytestmark = pytest.mark.browser


def sign_in(demo_site: DemoSite, page: Page, name: str) -> None:
    page.goto(f"{demo_site.url}/sign-in")
    page.locator("[name=username]").fill(name)
    page.locator("[name=password]").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()


def sign_out(page: Page, name: str) -> None:
    page.get_by_role("button", name=f"Account of {name}").click()
    page.get_by_role("button", name="Sign out", exact=True).click()
    page.wait_for_url("**/sign-in*")


def curl(demo_site: DemoSite, token: str, *more: str) -> int:
    """Return the HTTP status that curl gets with this token."""
    command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", *more]
    command += ["-H", f"Authorization: Bearer {token}", f"{demo_site.url}/api/v1/devices"]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_with_two_factor_authentication_sign_in_asks_for_a_code(
    demo_site: DemoSite, page: Page
) -> None:
    username, _ = OTHERS
    sign_in(demo_site, page, username)
    page.wait_for_url(f"{demo_site.url}/")
    page.goto(f"{demo_site.url}/account/second-factor")
    page.get_by_role("link", name="Set up two-factor authentication").click()
    expect(page.locator("img.qr")).to_be_visible()
    assert page.locator("img.qr").evaluate("picture => picture.naturalWidth") > 100
    phone = pyotp.TOTP(page.locator("#key").text_content() or "")
    page.locator("[name=code]").fill(phone.now())
    page.locator("[name=password]").fill(PASSWORD)
    page.get_by_role("button", name="Turn on two-factor authentication").click()
    codes = (page.locator("#codes").text_content() or "").split()
    assert len(codes) == 10

    sign_out(page, username)
    sign_in(demo_site, page, username)
    page.wait_for_url("**/sign-in/code")
    page.goto(f"{demo_site.url}/admin/")
    assert "/sign-in" in page.url
    page.goto(f"{demo_site.url}/sign-in/code")
    page.locator("[name=code]").fill(codes[0])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{demo_site.url}/")

    # Use the next code (30 s ahead): the current one may have been used during the setup.
    sign_out(page, username)
    sign_in(demo_site, page, username)
    page.locator("[name=code]").fill(phone.at(time.time() + 30))
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{demo_site.url}/")
    page.goto(f"{demo_site.url}/account/second-factor")
    expect(page.locator("#main")).to_contain_text("9 recovery codes are left")


def test_a_revoked_token_and_an_ended_session_give_no_access(
    demo_site: DemoSite, page: Page, chromium: Browser
) -> None:
    _, username = OTHERS
    sign_in(demo_site, page, username)
    page.wait_for_url(f"{demo_site.url}/")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"{demo_site.url}/tokens/new")
    page.locator("[name=label]").fill("Backup on the NAS")
    page.locator("[name=access]").select_option("read")
    page.get_by_role("button", name="Create token").click()
    page.get_by_role("button", name="Copy").first.click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    token = page.evaluate("navigator.clipboard.readText()")
    assert re.fullmatch(r"tsu_\w{49}", token)
    assert curl(demo_site, token) == 200
    assert curl(demo_site, token, "-d", "{}", "-H", "Content-Type: application/json") == 403

    page.get_by_role("link", name="Done").click()
    expect(page.locator("#main")).not_to_contain_text(token)
    page.get_by_role("link", name=re.compile("^Revoke .*Backup on the NAS")).click()
    page.get_by_role("button", name="Revoke").click()
    expect(page.locator("#main")).to_contain_text("The token has been revoked.")
    assert curl(demo_site, token) == 401

    elsewhere = chromium.new_context()
    other = elsewhere.new_page()
    sign_in(demo_site, other, username)
    other.wait_for_url(f"{demo_site.url}/")
    page.goto(f"{demo_site.url}/account/sessions")
    expect(page.locator(".sessions li")).to_have_count(2)
    page.get_by_role("button", name=re.compile("^Sign out .+ on ")).click()
    expect(page.locator(".sessions li")).to_have_count(1)
    other.goto(f"{demo_site.url}/")
    assert "/sign-in" in other.url
    page.goto(f"{demo_site.url}/")
    assert page.url == f"{demo_site.url}/"
    elsewhere.close()
