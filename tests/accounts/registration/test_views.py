"""Pages: registration, password reset and the user's own account."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import Session, User
from accounts.registration import invitations
from accounts.registration.views import SESSION_LAST_MAIL
from tests.factories import PASSWORD
from tests.mail import link_of

FORM = {"username": "ada", "email": "ada@example.org", "password": PASSWORD}
NEW = "a quite long sentence"


@pytest.fixture(autouse=True)
def _must_verify(settings):
    settings.ALLOW_UNVERIFIED_LOGIN = False
    settings.PUBLIC_URL = ""


def text(response):
    return response.content.decode()


def open_link(client, inbox, address):
    """Open the newest link that was mailed to this e-mail and return where it redirects to."""
    inbox.deliver()
    return client.get(link(inbox, address)).headers["Location"]


def link(inbox, address):
    return text_link(inbox.to(address)[-1])


def text_link(mail):
    return link_of(mail).removeprefix("http://testserver")


@pytest.fixture(autouse=True)
def _links_to_the_test_server(_must_verify, settings):
    settings.PUBLIC_URL = "http://testserver"


def test_sign_up_redirects_to_the_inbox_page_and_the_link_to_sign_in(client, inbox):
    response = client.post("/sign-up", FORM, follow=True)
    assert response.redirect_chain == [("/check-your-inbox", 302)]
    assert "ada@example.org" in text(response)
    assert open_link(client, inbox, "ada@example.org") == "/verify-email"
    assert "ada" in text(client.get("/verify-email"))
    response = client.post("/verify-email", {"password": PASSWORD}, follow=True)
    assert "Sign in as ada" in text(response)
    client.post("/sign-in", {"username": "ada", "password": PASSWORD})
    assert client.get("/").status_code == 200


def test_the_verification_page_asks_for_the_password_and_links_to_sign_up(client, inbox):
    client.post("/sign-up", FORM)
    open_link(client, inbox, "ada@example.org")
    assert 'name="password"' in text(client.get("/verify-email"))
    assert client.post("/verify-email").status_code == 422
    german = {"Accept-Language": "de"}
    response = client.post("/verify-email", {"password": "another"}, headers=german)
    assert response.status_code == 422
    assert "Das ist nicht das Passwort von der Registrierung" in text(response)
    assert 'href="/sign-up"' in text(response)
    assert not User.objects.exists()


def test_opening_a_link_does_not_consume_or_show_its_token(client, inbox):
    client.post("/sign-up", FORM)
    inbox.deliver()
    address = link(inbox, "ada@example.org")
    secret = address.rsplit("/", 1)[1]
    for browser in (Client(), Client(), client):
        assert browser.get(address).headers["Location"] == "/verify-email"
        assert secret not in text(browser.get("/verify-email"))
    assert not User.objects.exists()


def test_a_used_link_is_rejected(client, inbox):
    client.post("/sign-up", FORM)
    open_link(client, inbox, "ada@example.org")
    client.post("/verify-email", {"password": PASSWORD})
    response = client.get(link(inbox, "ada@example.org"), follow=True)
    assert response.status_code == 410
    assert client.post("/verify-email").status_code == 410


@pytest.mark.parametrize("path", ["verify-email", "join", "password-reset"])
@pytest.mark.parametrize("secret", ["x", "tsv_", "tsr_" + "0" * 49, "😀"])
def test_a_malformed_link_is_rejected_and_stores_no_session(client, db, path, secret):
    response = client.get(f"/{path}/{secret}", follow=True)
    assert response.status_code == 410
    assert not Session.objects.exists()


def test_the_verification_page_asks_for_another_username_if_it_was_taken_since(client, inbox):
    client.post("/sign-up", FORM)
    open_link(client, inbox, "ada@example.org")
    User.objects.create_user("ada", "other@example.org", PASSWORD)
    response = client.post("/verify-email", {"password": PASSWORD})
    assert response.status_code == 422
    assert "This username is taken." in text(response)
    client.post("/verify-email", {"username": "ada2", "password": PASSWORD})
    assert User.objects.get(email="ada@example.org").username == "ada2"


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("username", "owner", "This username is taken."),
        ("username", "a b", "Letters, digits and"),
        ("email", "nothing", "valid email"),
        ("password", "short", "too short"),
        ("password", "", "required"),
    ],
)
def test_an_invalid_sign_up_shows_an_error_at_its_field(owner, client, field, value, message):
    response = client.post("/sign-up", {**FORM, field: value})
    assert response.status_code == 422
    assert message in text(response)
    assert PASSWORD not in text(response)


def test_a_sign_up_with_a_known_email_shows_the_same_page(owner, client):
    known = client.post("/sign-up", {**FORM, "email": owner.email}, follow=True)
    assert known.redirect_chain == [("/check-your-inbox", 302)]


@pytest.mark.parametrize("mode", ["invitation", "closed"])
def test_without_open_registration_there_is_no_sign_up_form_or_link(client, db, settings, mode):
    assert 'href="/sign-up"' in text(client.get("/sign-in"))
    settings.REGISTRATION_MODE = mode
    assert 'href="/sign-up"' not in text(client.get("/sign-in"))
    for response in (client.get("/sign-up"), client.post("/sign-up", FORM)):
        assert response.status_code == 403
        assert "<form" not in text(response)


def test_the_mail_can_be_resent_after_a_minute(client, inbox):
    client.post("/sign-up", FORM)
    inbox.deliver()
    early = client.post("/check-your-inbox")
    assert early.status_code == 429
    assert "You can resend the e-mail in" in text(early)
    session = client.session
    session[SESSION_LAST_MAIL] |= {"at": (timezone.now() - timedelta(seconds=61)).isoformat()}
    session.save()
    assert "data-wait" in text(client.get("/check-your-inbox"))
    assert client.post("/check-your-inbox").status_code == 302
    inbox.deliver()
    assert len(inbox.mails) == 2


def test_the_inbox_page_without_a_sent_mail_redirects_to_sign_in(client, db):
    assert client.get("/check-your-inbox").headers["Location"] == "/sign-in"


def test_the_verification_link_can_be_resent_from_another_browser(client, inbox):
    client.post("/sign-up", FORM)
    inbox.deliver()
    other = Client()
    response = other.post("/verify-email/again", {"email": "ada@example.org"}, follow=True)
    assert "Check your inbox" in text(response)
    assert open_link(other, inbox, "ada@example.org") == "/verify-email"


def test_a_password_reset_sets_the_password_and_ends_old_sessions(owner, owner_client, inbox):
    client = Client()
    response = client.post("/password-reset", {"email": owner.email}, follow=True)
    assert "Check your inbox" in text(response)
    assert open_link(client, inbox, owner.email) == "/password-reset/new"
    assert client.post("/password-reset/new", {"password": "short"}).status_code == 422
    assert client.post("/password-reset/new", {"password": NEW}).headers["Location"] == "/sign-in"
    assert owner_client.get("/").status_code == 302
    assert Client().login(username="owner", password=NEW)
    assert client.get("/password-reset/new").status_code == 410


def test_an_invited_user_joins(staff, client, inbox):
    invitations.invite(staff, "ada@example.org", now=timezone.now())
    assert open_link(client, inbox, "ada@example.org") == "/join"
    page = text(client.get("/join"))
    assert "staff" in page
    assert "ada@example.org" in page
    assert client.post("/join", {"username": "staff", "password": PASSWORD}).status_code == 422
    client.post("/join", {"username": "ada", "password": PASSWORD})
    assert Client().login(username="ada", password=PASSWORD)


def test_the_account_shows_and_changes_the_profile(owner, owner_client):
    assert "owner@example.org" in text(owner_client.get("/account"))
    form = {"username": "ada", "time_zone": "Asia/Tokyo"}
    assert owner_client.post("/account", form).headers["Location"] == "/account"
    owner.refresh_from_db()
    assert (owner.username, owner.time_zone) == ("ada", "Asia/Tokyo")


def test_a_rejected_username_is_not_shown_in_the_header(owner_client, stranger):
    form = {"username": "stranger", "time_zone": "UTC"}
    response = owner_client.post("/account", form)
    assert response.status_code == 422
    assert "This username is taken." in text(response)
    assert "Signed in as <strong>owner</strong>" in text(response)


def test_the_email_is_changed_with_the_password_and_the_link(owner, owner_client, inbox):
    form = {"email": "new@example.org", "password": PASSWORD}
    wrong = owner_client.post("/account/address", {**form, "password": "wrong"})
    assert wrong.status_code == 422
    assert "Wrong password." in text(wrong)
    assert owner_client.post("/account/address", form).headers["Location"] == "/account"
    assert "new@example.org" in text(owner_client.get("/account"))
    open_link(owner_client, inbox, "new@example.org")
    assert 'name="password"' not in text(owner_client.get("/verify-email"))
    other_client = Client()
    open_link(other_client, inbox, "new@example.org")
    assert other_client.post("/verify-email").status_code == 422
    assert owner_client.post("/verify-email").headers["Location"] == "/account"
    owner.refresh_from_db()
    assert owner.email == "new@example.org"


def test_an_email_change_can_be_cancelled(owner, owner_client, inbox):
    form = {"email": "new@example.org", "password": PASSWORD}
    owner_client.post("/account/address", form)
    owner_client.post("/account/address/keep")
    assert "new@example.org" not in text(owner_client.get("/account"))


@pytest.mark.parametrize("path", ["/account", "/account/address"])
def test_an_anonymous_client_is_redirected_to_sign_in(client, db, path):
    assert client.get(path).headers["Location"] == f"/sign-in?next={path}"


def test_a_login_over_the_limit_shows_a_message(owner, client, settings):
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "sign-in": (1, 900)}
    form = {"username": "owner", "password": "wrong"}
    assert client.post("/sign-in", form).status_code == 200
    response = client.post("/sign-in", {**form, "password": PASSWORD})
    assert response.status_code == 429
    assert int(response["Retry-After"]) <= 900
    assert "Too many attempts. Try again in 15 minutes." in text(response)
