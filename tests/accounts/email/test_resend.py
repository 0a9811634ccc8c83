"""The link of an e-mail change can be resent."""

from typing import Any

from django.test import Client
from django.utils import timezone

from accounts.email import verification
from accounts.models import User
from accounts.registration import services as registrations
from tests.conftest import Api
from tests.factories import (
    PASSWORD,
)
from tests.mail import Inbox, secret_of

EVIL = "attacker@evil.example"


class TestResend:
    def test_the_link_of_an_email_change_is_resent_to_the_user(
        self, owner: User, owner_api: Api, owner_client: Client, inbox: Inbox
    ) -> None:
        verification.request_email_change(owner, "new@example.org")
        assert owner_api.post("/api/v1/auth/address/resend").status_code == 202
        assert b"Send e-mail again" in owner_client.get("/account").content
        assert owner_client.post("/account/address/resend").status_code == 302
        inbox.deliver()
        links = [secret_of(mail) for mail in inbox.to("new@example.org")]
        assert len(set(links)) == 3
        registrations.verify_email_or_complete(links[2], password=PASSWORD, now=timezone.now())
        owner.refresh_from_db()
        assert owner.email == "new@example.org"

    def test_nothing_is_resent_when_no_email_change_is_pending(
        self, owner_api: Api, owner_client: Client, inbox: Inbox
    ) -> None:
        response = owner_api.post("/api/v1/auth/address/resend")
        assert (response.status_code, response.json()["type"]) == (
            409,
            "urn:telemetry:problem:nothing-to-prove",
        )
        assert owner_client.post("/account/address/resend").status_code == 302
        assert inbox.deliver() == 0

    def test_an_anonymous_client_cannot_have_the_link_of_an_email_change_resent(
        self, owner: User, anonymous_api: Api, client: Client, inbox: Inbox
    ) -> None:
        verification.request_email_change(owner, EVIL)
        inbox.deliver()
        anonymous_api.post("/api/v1/auth/verify-email/resend", {"email": EVIL})
        client.post("/verify-email/again", {"email": EVIL})
        inbox.deliver()
        assert len(inbox.to(EVIL)) == 1

    def test_resending_the_link_is_limited(
        self, owner: User, owner_api: Api, settings: Any
    ) -> None:
        settings.RATE_LIMITS = {**settings.RATE_LIMITS, "mail": (1, 3600)}
        verification.request_email_change(owner, "new@example.org")
        assert owner_api.post("/api/v1/auth/address/resend").status_code == 202
        assert owner_api.post("/api/v1/auth/address/resend").status_code == 429
