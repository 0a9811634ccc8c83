"""Sign-up and password reset with real processes, a real mail server and a real browser."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.e2e.sites import TIMEOUT_SECONDS, Site
from tests.mail import Inbox, link_of, mail_server, secret_of

pytestmark = pytest.mark.browser

ADDRESS = "ada@example.org"
FIRST = "correct horse battery staple"
SECOND = "a quite long sentence"


@pytest.fixture(scope="module")
def inbox() -> Iterator[Inbox]:
    with mail_server() as inbox:
        yield inbox


@pytest.fixture
def site(inbox: Inbox) -> Iterator[Site]:
    with tempfile.TemporaryDirectory(prefix="telemetry-") as folder:
        with Site(Path(folder) / "data", EMAIL_URL=f"smtp://127.0.0.1:{inbox.port}") as running:
            running.wait_for(r"Telemetry runs at")
            yield running
        print("".join(running.said))  # noqa: T201 - pytest shows it when the test failed


def open_mail(page: Page, inbox: Inbox, subject: str) -> str:
    """Open the link of the mail that the worker sent, and return its token."""
    mail = inbox.wait_for(ADDRESS, subject, timeout=TIMEOUT_SECONDS)
    page.goto(link_of(mail))
    secret = secret_of(mail)
    assert secret not in page.url
    assert secret not in page.content()
    return secret


def sign_in(page: Page, site: Site, password: str) -> None:
    page.goto(f"{site.url}/sign-in")
    page.get_by_label("Username or e-mail").fill("ada")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


def test_a_user_signs_up_and_resets_a_forgotten_password(
    site: Site, inbox: Inbox, window: BrowserContext, page: Page
) -> None:
    page.goto(f"{site.url}/sign-in")
    page.get_by_role("link", name="Sign up").click()
    page.get_by_label("Username").fill("ada")
    page.get_by_label("E-mail address").fill(ADDRESS)
    page.get_by_label("Password", exact=True).fill(FIRST)
    page.get_by_role("button", name="Sign up").click()
    expect(page.get_by_role("heading")).to_have_text("Check your inbox")
    expect(page.get_by_role("button", name="Resend in")).to_be_disabled()

    secrets = [open_mail(page, inbox, "Confirm your e-mail address")]
    page.get_by_label("Your password").fill(FIRST)
    page.get_by_role("button", name="Confirm e-mail address").click()
    expect(page.get_by_role("status")).to_have_text(
        "Your e-mail address is confirmed. Sign in as ada."
    )
    sign_in(page, site, FIRST)
    expect(page.get_by_role("heading", name="Devices")).to_be_visible()

    other = window.browser.new_context() if window.browser else window
    elsewhere = other.new_page()
    elsewhere.goto(f"{site.url}/sign-in")
    elsewhere.get_by_role("link", name="Forgot your password?").click()
    elsewhere.get_by_label("E-mail address").fill(ADDRESS)
    elsewhere.get_by_role("button", name="Send link").click()
    expect(elsewhere.get_by_role("heading")).to_have_text("Check your inbox")
    secrets.append(open_mail(elsewhere, inbox, "Set a new password"))
    elsewhere.get_by_label("Password", exact=True).fill(SECOND)
    elsewhere.get_by_role("button", name="Set password").click()
    expect(elsewhere.get_by_role("status")).to_contain_text("Your password is set.")
    inbox.wait_for(ADDRESS, "Your password was changed", timeout=TIMEOUT_SECONDS)

    # Request it outside the page, which redirects by itself as soon as it notices.
    answer = page.request.get(f"{site.url}/", max_redirects=0)
    assert "/sign-in" in answer.headers.get("location", ""), "the old session is still in"
    sign_in(elsewhere, site, SECOND)
    expect(elsewhere.get_by_role("heading", name="Devices")).to_be_visible()
    other.close()

    page.close()
    assert site.stop() == 0
    printed = "".join(site.said)
    assert not [secret for secret in secrets if secret in printed]
