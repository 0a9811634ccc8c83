"""Tokens that were issued with another token."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import Token, User
from accounts.tokens import services as tokens
from tests.conftest import Api, signed_in
from tests.factories import (
    PASSWORD,
    enable_mfa,
    user_token,
    user_token_and_row,
)

NEW = "a quite long sentence"


class TestChildTokens:
    def make(self, api: Api, **body: Any) -> Any:
        return api.post("/api/v1/tokens", body)

    def test_a_child_token_expires_with_its_parent(self, owner: User) -> None:
        parent, _secret = tokens.issue(
            owner, scope=Token.Scope.AUTH, now=timezone.now(), lifetime=timedelta(seconds=60)
        )
        response = self.make(Api(_secret.text), expires_in=5 * 365 * 86400).json()
        assert response["parent"] == str(parent.pk)
        assert Token.objects.get(pk=response["id"]).expires_at == parent.expires_at

    def test_revoking_a_token_revokes_all_its_descendants(self, owner: User) -> None:
        parent, secret = user_token_and_row(owner)
        child = self.make(Api(secret)).json()["token"]
        grandchild = self.make(Api(child)).json()["token"]
        tokens.revoke(parent)
        for one in (secret, child, grandchild):
            assert Api(one).get("/api/v1/devices").status_code == 401

    @pytest.mark.parametrize("end", ["logout", "rotate"])
    def test_logout_and_rotation_revoke_the_child_tokens(self, owner: User, end: str) -> None:
        parent, secret = user_token_and_row(owner)
        child = self.make(Api(secret)).json()["token"]
        if end == "logout":
            Api(secret).post("/api/v1/auth/logout")
        else:
            signed_in(owner).post(f"/tokens/{parent.pk}/rotate")
        assert Api(child).get("/api/v1/devices").status_code == 401

    def test_the_token_that_a_password_change_keeps_has_no_parent_any_more(
        self, owner: User
    ) -> None:
        _parent, secret = user_token_and_row(owner)
        child = Api(self.make(Api(secret)).json()["token"])
        body = {"current": PASSWORD, "new": NEW}
        assert child.post("/api/v1/auth/password", body).status_code == 204
        assert Api(secret).get("/api/v1/devices").status_code == 401
        assert child.get("/api/v1/devices").status_code == 200
        assert Token.objects.get(revoked=False).parent is None

    def test_a_token_of_a_user_with_mfa_issues_no_token_without_a_code(self, owner: User) -> None:
        totp = enable_mfa(owner, now=timezone.now() - timedelta(minutes=2))
        api = Api(user_token(owner))
        for body in ({}, {"code": "000000"}):
            response = self.make(api, **body)
            assert (response.status_code, response.json()["type"]) == (
                403,
                "urn:telemetry:problem:second-factor-required",
            )
        assert self.make(api, code=totp.at(timezone.now())).status_code == 201

    def test_a_session_without_a_code_issues_no_token_for_a_user_with_mfa(
        self, owner: User
    ) -> None:
        totp = enable_mfa(owner, now=timezone.now() - timedelta(minutes=2))
        token, _ = user_token_and_row(owner)
        for path in ("/tokens/new", f"/tokens/{token.pk}/rotate"):
            response = signed_in(owner).post(path, {"label": "x", "access": "read", "days": "30"})
            assert response.headers["Location"] == f"/sign-in?next={path}"
        assert Token.objects.count() == 1
        browser = Client()
        browser.post("/sign-in", {"username": "owner", "password": PASSWORD})
        browser.post("/sign-in/code", {"code": totp.at(timezone.now())})
        form = {"label": "x", "access": "read", "days": "30"}
        assert b"tsu_" in browser.post("/tokens/new", form).content

    def test_a_login_chooses_the_lifetime_of_its_token(
        self, owner: User, anonymous_api: Api
    ) -> None:
        body = {"username": "owner", "password": PASSWORD, "expires_in": 5 * 365 * 86400}
        assert anonymous_api.post("/api/v1/auth/login", body).status_code == 200
        lifetime = Token.objects.get().expires_at - timezone.now()  # type: ignore[operator]
        assert lifetime > timedelta(days=5 * 365 - 1)
