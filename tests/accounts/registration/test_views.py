"""Joining, getting back in and one's own account, as a browser sees them."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import Session, User
from accounts.registration import services as registrations
from accounts.registration.views import SESSION_LAST_MAIL
from tests.factories import PASSWORD
from tests.mail import link_of

FORM = {"username": "ada", "email": "ada@example.org", "password": PASSWORD}
NEW = "a quite long sentence"


@pytest.fixture(autouse=True)
def _must_verify(settings):
    settings.ALLOW_UNVERIFIED_LOGIN = False
    settings.PUBLIC_URL = ""


def text(answer):
    return answer.content.decode()


def opened(client, inbox, address):
    """Open the newest link that was mailed there; where it leads to."""
    inbox.deliver()
    return client.get(link(inbox, address)).headers["Location"]


def link(inbox, address):
    return text_link(inbox.to(address)[-1])


def text_link(mail):
    return link_of(mail).removeprefix("http://testserver")


@pytest.fixture(autouse=True)
def _links_lead_here(_must_verify, settings):
    settings.PUBLIC_URL = "http://testserver"


def test_signing_up_leads_to_the_inbox_and_the_link_to_sign_in(client, inbox):
    answer = client.post("/sign-up", FORM, follow=True)
    assert answer.redirect_chain == [("/check-your-inbox", 302)]
    assert "ada@example.org" in text(answer)
    assert opened(client, inbox, "ada@example.org") == "/verify-email"
    assert "ada" in text(client.get("/verify-email"))
    answer = client.post("/verify-email", {"password": PASSWORD}, follow=True)
    assert "Sign in as ada" in text(answer)
    client.post("/sign-in", {"username": "ada", "password": PASSWORD})
    assert client.get("/").status_code == 200


def test_the_page_asks_for_the_password_and_leads_to_signing_up_again(client, inbox):
    client.post("/sign-up", FORM)
    opened(client, inbox, "ada@example.org")
    assert 'name="password"' in text(client.get("/verify-email"))
    assert client.post("/verify-email").status_code == 422
    german = {"Accept-Language": "de"}
    answer = client.post("/verify-email", {"password": "another"}, headers=german)
    assert answer.status_code == 422
    assert "Das ist nicht das Passwort, das bei der Registrierung" in text(answer)
    assert 'href="/sign-up"' in text(answer)
    assert not User.objects.exists()


def test_looking_at_a_link_uses_nothing_up_and_shows_no_secret(client, inbox):
    client.post("/sign-up", FORM)
    inbox.deliver()
    address = link(inbox, "ada@example.org")
    secret = address.rsplit("/", 1)[1]
    for browser in (Client(), Client(), client):
        assert browser.get(address).headers["Location"] == "/verify-email"
        assert secret not in text(browser.get("/verify-email"))
    assert not User.objects.exists()


def test_a_link_that_was_used_is_refused(client, inbox):
    client.post("/sign-up", FORM)
    opened(client, inbox, "ada@example.org")
    client.post("/verify-email", {"password": PASSWORD})
    answer = client.get(link(inbox, "ada@example.org"), follow=True)
    assert answer.status_code == 410
    assert client.post("/verify-email").status_code == 410


@pytest.mark.parametrize("path", ["verify-email", "join", "password-reset"])
@pytest.mark.parametrize("secret", ["x", "tsv_", "tsr_" + "0" * 49, "😀"])
def test_a_made_up_link_is_refused_and_stores_nothing(client, db, path, secret):
    answer = client.get(f"/{path}/{secret}", follow=True)
    assert answer.status_code == 410
    assert not Session.objects.exists()


def test_a_name_that_was_taken_meanwhile_is_asked_for_again(client, inbox):
    client.post("/sign-up", FORM)
    opened(client, inbox, "ada@example.org")
    User.objects.create_user("ada", "other@example.org", PASSWORD)
    answer = client.post("/verify-email", {"password": PASSWORD})
    assert answer.status_code == 422
    assert "This username is taken." in text(answer)
    client.post("/verify-email", {"username": "ada2", "password": PASSWORD})
    assert User.objects.get(email="ada@example.org").username == "ada2"


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("username", "owner", "This username is taken."),
        ("username", "a b", "Letters, digits and"),
        ("email", "nothing", "valid email"),
        ("password", "short", "too short"),
        ("password", "", "required"),
    ],
)
def test_faults_of_a_sign_up_are_shown_beside_their_field(owner, client, field, value, told):
    answer = client.post("/sign-up", {**FORM, field: value})
    assert answer.status_code == 422
    assert told in text(answer)
    assert PASSWORD not in text(answer)


def test_a_known_address_sees_the_same_page(owner, client):
    known = client.post("/sign-up", {**FORM, "email": owner.email}, follow=True)
    assert known.redirect_chain == [("/check-your-inbox", 302)]


@pytest.mark.parametrize("who", ["invitation", "closed"])
def test_where_nobody_signs_up_there_is_no_form_nor_a_link_to_it(client, db, settings, who):
    assert 'href="/sign-up"' in text(client.get("/sign-in"))
    settings.REGISTRATION_MODE = who
    assert 'href="/sign-up"' not in text(client.get("/sign-in"))
    for answer in (client.get("/sign-up"), client.post("/sign-up", FORM)):
        assert answer.status_code == 403
        assert "<form" not in text(answer)


def test_another_mail_can_be_asked_for_after_a_minute(client, inbox):
    client.post("/sign-up", FORM)
    inbox.deliver()
    early = client.post("/check-your-inbox")
    assert early.status_code == 429
    assert "seconds you can have another one" in text(early)
    session = client.session
    session[SESSION_LAST_MAIL] |= {"at": (timezone.now() - timedelta(seconds=61)).isoformat()}
    session.save()
    assert "data-wait" in text(client.get("/check-your-inbox"))
    assert client.post("/check-your-inbox").status_code == 302
    inbox.deliver()
    assert len(inbox.mails) == 2


def test_without_a_mail_there_is_no_inbox_to_look_into(client, db):
    assert client.get("/check-your-inbox").headers["Location"] == "/sign-in"


def test_the_link_to_confirm_can_be_asked_for_from_another_browser(client, inbox):
    client.post("/sign-up", FORM)
    inbox.deliver()
    other = Client()
    answer = other.post("/verify-email/again", {"email": "ada@example.org"}, follow=True)
    assert "Check your inbox" in text(answer)
    assert opened(other, inbox, "ada@example.org") == "/verify-email"


def test_a_forgotten_password_is_replaced_and_the_old_session_is_out(owner, owner_client, inbox):
    client = Client()
    answer = client.post("/password-reset", {"email": owner.email}, follow=True)
    assert "Check your inbox" in text(answer)
    assert opened(client, inbox, owner.email) == "/password-reset/new"
    assert client.post("/password-reset/new", {"password": "short"}).status_code == 422
    assert client.post("/password-reset/new", {"password": NEW}).headers["Location"] == "/sign-in"
    assert owner_client.get("/").status_code == 302
    assert Client().login(username="owner", password=NEW)
    assert client.get("/password-reset/new").status_code == 410


def test_who_was_invited_joins(staff, client, inbox):
    registrations.invite(staff, "ada@example.org", now=timezone.now())
    assert opened(client, inbox, "ada@example.org") == "/join"
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


def test_a_refused_name_leaves_the_one_that_holds_in_the_header(owner_client, stranger):
    form = {"username": "stranger", "time_zone": "UTC"}
    answer = owner_client.post("/account", form)
    assert answer.status_code == 422
    assert "This username is taken." in text(answer)
    assert "Signed in as <strong>owner</strong>" in text(answer)


def test_the_address_is_changed_with_the_password_and_the_link(owner, owner_client, inbox):
    form = {"email": "new@example.org", "password": PASSWORD}
    wrong = owner_client.post("/account/address", {**form, "password": "wrong"})
    assert wrong.status_code == 422
    assert "not your password" in text(wrong)
    assert owner_client.post("/account/address", form).headers["Location"] == "/account"
    assert "new@example.org" in text(owner_client.get("/account"))
    opened(owner_client, inbox, "new@example.org")
    assert 'name="password"' not in text(owner_client.get("/verify-email"))
    elsewhere = Client()
    opened(elsewhere, inbox, "new@example.org")
    assert elsewhere.post("/verify-email").status_code == 422
    assert owner_client.post("/verify-email").headers["Location"] == "/account"
    owner.refresh_from_db()
    assert owner.email == "new@example.org"


def test_a_change_of_address_can_be_taken_back(owner, owner_client, inbox):
    form = {"email": "new@example.org", "password": PASSWORD}
    owner_client.post("/account/address", form)
    owner_client.post("/account/address/keep")
    assert "new@example.org" not in text(owner_client.get("/account"))


@pytest.mark.parametrize("path", ["/account", "/account/address"])
def test_the_account_is_for_who_is_signed_in(client, db, path):
    assert client.get(path).headers["Location"] == f"/sign-in?next={path}"


def test_too_many_tries_are_told_in_a_sentence(owner, client, settings):
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "sign-in": (1, 900)}
    form = {"username": "owner", "password": "wrong"}
    assert client.post("/sign-in", form).status_code == 200
    answer = client.post("/sign-in", {**form, "password": PASSWORD})
    assert answer.status_code == 429
    assert int(answer["Retry-After"]) <= 900
    assert "Too many tries. Try again in 15 minutes." in text(answer)
