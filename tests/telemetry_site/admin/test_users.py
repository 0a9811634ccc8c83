"""Users in the admin: invitations, creation, changes, passwords and tokens."""

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from accounts.tokens import services as tokens
from tests.admin import initial_values_field
from tests.conftest import Api
from tests.mail import Inbox

pytestmark = pytest.mark.django_db


def test_staff_invite_a_user_by_email(staff_client: Client, staff: User, inbox: Inbox) -> None:
    path = "/admin/accounts/registration/add/"
    assert "email" in staff_client.get(path).content.decode()
    refused = staff_client.post(path, {"email": staff.email})
    assert "already" in refused.content.decode()
    assert staff_client.post(path, {"email": "ada@example.org"}).status_code == 302
    invitation = staff.invitations.get()
    assert (invitation.username, invitation.prefix) == ("", "")
    inbox.deliver()
    assert [mail["To"] for mail in inbox.mails] == ["ada@example.org"]
    change = f"/admin/accounts/registration/{invitation.pk}/change/"
    assert staff_client.get(change).status_code == 200
    assert staff_client.post(change, {"email": "other@example.org"}).status_code == 403


def test_a_verification_link_for_a_replaced_email_is_invalid(
    staff_client: Client, owner: User
) -> None:
    now = timezone.now()
    _, secret = tokens.issue(owner, scope=tokens.Scope.EMAIL_VERIFICATION, now=now)
    form = {"username": "owner", "email": "new@example.org", "time_zone": "UTC"}
    path = f"/admin/accounts/user/{owner.pk}/change/"
    form |= initial_values_field(staff_client, path)
    assert staff_client.post(path, form | {"is_active": "on"}).status_code == 302
    with pytest.raises(tokens.InvalidToken):
        tokens.get_active(secret.text, scope=tokens.Scope.EMAIL_VERIFICATION, now=now)


class TestUsers:
    def test_a_user_cannot_be_deleted_in_the_admin(self, staff_client: Client, owner: User) -> None:
        path = f"/admin/accounts/user/{owner.pk}/delete/"
        assert staff_client.post(path, {"post": "yes"}).status_code == 403

    def test_staff_who_are_not_superusers_cannot_grant_permissions(
        self, staff: User, staff_client: Client, owner: User
    ) -> None:
        User.objects.filter(pk=staff.pk).update(is_superuser=False)
        staff.user_permissions.set(Permission.objects.filter(content_type__app_label="accounts"))
        path = reverse("admin:accounts_user_change", args=[owner.pk])
        body = {"username": "owner", "email": owner.email, "time_zone": "UTC"}
        raised = {"is_active": "on", "is_staff": "on", "is_superuser": "on"}
        answer = staff_client.post(path, body | raised | initial_values_field(staff_client, path))
        assert answer.status_code == 302
        owner.refresh_from_db()
        assert not owner.is_staff
        assert not owner.is_superuser

    def test_staff_who_are_not_superusers_cannot_change_a_superuser(
        self, staff: User, staff_client: Client, owner: User
    ) -> None:
        User.objects.filter(pk=staff.pk).update(is_superuser=False)
        User.objects.filter(pk=owner.pk).update(is_superuser=True)
        staff.user_permissions.set(Permission.objects.filter(content_type__app_label="accounts"))
        for path in ("change", "password"):
            answer = staff_client.post(
                f"/admin/accounts/user/{owner.pk}/{path}/",
                {"password1": "a new long passphrase", "password2": "a new long passphrase"},
            )
            assert answer.status_code == 403

    def test_a_password_set_by_staff_revokes_sessions_and_tokens(
        self, staff_client: Client, owner: User, owner_api: Api
    ) -> None:
        new = "a new long passphrase"
        body = {"password1": new, "password2": new, "usable_password": "true"}
        answer = staff_client.post(f"/admin/accounts/user/{owner.pk}/password/", body)
        assert answer.status_code == 302
        assert Client().login(username="owner", password=new)
        assert owner_api.get("/api/v1/devices").status_code == 401

    def test_a_password_can_be_removed(self, staff_client: Client, owner: User) -> None:
        body = {"usable_password": "false", "unset-password": "", "password1": "", "password2": ""}
        staff_client.post(f"/admin/accounts/user/{owner.pk}/password/", body)
        owner.refresh_from_db()
        assert not owner.has_usable_password()

    def test_a_created_user_can_sign_in(self, staff_client: Client) -> None:
        body = {"username": "neu", "email": "neu@example.org", "usable_password": "true"}
        password = "correct horse battery staple"
        answer = staff_client.post(
            "/admin/accounts/user/add/", {**body, "password1": password, "password2": password}
        )
        assert answer.status_code == 302
        assert Client().login(username="neu", password=password)

    def test_a_revoked_token_is_rejected(
        self, staff_client: Client, owner: User, owner_api: Api
    ) -> None:
        body = {"action": "revoke", "_selected_action": [str(owner.tokens.get().pk)]}
        staff_client.post("/admin/accounts/token/", body)
        assert owner_api.get("/api/v1/devices").status_code == 401
