"""Actions of staff on users in the list of the admin."""

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.mfa import services as mfa
from accounts.models import AuditEvent, User
from tests.conftest import Api
from tests.factories import PASSWORD, UserFactory, enable_mfa, user_token
from tests.mail import Inbox

pytestmark = pytest.mark.django_db


def act(client: Client, action: str, *users: User, **more: str) -> Any:
    body = {"action": action, "_selected_action": [user.pk for user in users], **more}
    return client.post("/admin/accounts/user/", body, follow=True)


def test_a_deactivated_user_their_sessions_and_their_devices_lose_access_immediately(
    staff_client: Client, owner: User, owner_client: Client, device_api: Any
) -> None:
    asked = act(staff_client, "deactivate", owner)
    assert b"owner" in asked.content
    owner.refresh_from_db()
    assert owner.is_active
    act(staff_client, "deactivate", owner, confirmed="yes")
    assert owner_client.get("/").status_code == 302
    assert device_api.get("/api/v1/device").status_code == 401
    assert not Client().login(username="owner", password=PASSWORD)
    act(staff_client, "reactivate", owner, confirmed="yes")
    assert owner_client.get("/").status_code == 302
    assert Client().login(username="owner", password=PASSWORD)
    assert device_api.get("/api/v1/device").status_code == 200


def test_a_signed_out_user_can_sign_in_again_and_their_devices_keep_access(
    staff_client: Client, owner: User, owner_client: Client, device_api: Any
) -> None:
    token = user_token(owner)
    page = staff_client.get(f"/admin/accounts/user/{owner.pk}/change/").content.decode()
    assert "Two-factor authentication" in page
    assert Api(token).get("/api/v1/devices").status_code == 200
    act(staff_client, "sign_out", owner, confirmed="yes")
    assert owner_client.get("/").status_code == 302
    assert Api(token).get("/api/v1/devices").status_code == 401
    assert device_api.get("/api/v1/device").status_code == 200
    assert Client().login(username="owner", password=PASSWORD)


def test_staff_cannot_deactivate_themselves(staff: User, staff_client: Client) -> None:
    page = act(staff_client, "deactivate", staff, confirmed="yes")
    assert b"You don&#x27;t have permission to do this for staff." in page.content
    staff.refresh_from_db()
    assert staff.is_active


def exceed_sign_in_limit(name: str) -> None:
    for _ in range(11):
        answer = Client().post("/sign-in", {"username": name, "password": "wrong"})
    assert answer.status_code == 429


@pytest.mark.parametrize("name", ["owner", "OWNER@example.org"])
def test_a_locked_out_user_is_marked_and_can_sign_in_after_unlocking(
    staff_client: Client, owner: User, name: str
) -> None:
    User.objects.filter(pk=owner.pk).update(email="owner@example.org")
    right = {"username": "owner", "password": PASSWORD}
    page = f"/admin/accounts/user/{owner.pk}/change/"
    assert "Too many failed attempts" not in staff_client.get(page).text
    exceed_sign_in_limit(name)
    assert "Too many failed attempts" in staff_client.get(page).text
    assert Client().post("/sign-in", {**right, "username": name}).status_code == 429
    act(staff_client, "unlock", owner)
    assert "Too many failed attempts" in staff_client.get(page).text
    act(staff_client, "unlock", owner, confirmed="yes")
    assert "Too many failed attempts" not in staff_client.get(page).text
    assert Client().post("/sign-in", {**right, "username": name}).status_code == 302
    assert AuditEvent.objects.filter(action="user.unlocked", target_id=str(owner.pk)).exists()


def test_unlocking_one_user_does_not_unlock_others(staff_client: Client, owner: User) -> None:
    other = UserFactory.create(username="other")
    exceed_sign_in_limit("other")
    act(staff_client, "unlock", owner, confirmed="yes")
    body = {"username": "other", "password": PASSWORD}
    assert Client().post("/sign-in", body).status_code == 429
    act(staff_client, "unlock", other, confirmed="yes")
    assert Client().post("/sign-in", body).status_code == 302


def test_unlocking_resets_the_limit_of_mfa_codes(
    staff_client: Client, owner: User, settings: Any
) -> None:
    now = timezone.now()
    enable_mfa(owner, now=now)
    for _ in range(settings.RATE_LIMITS["second-factor"][0]):
        with pytest.raises(mfa.InvalidCode):
            mfa.verify_code(owner, "000000", now=now)
    with pytest.raises(mfa.TooManyAttempts):
        mfa.verify_code(owner, "000000", now=now)
    act(staff_client, "unlock", owner, confirmed="yes")
    with pytest.raises(mfa.InvalidCode):
        mfa.verify_code(owner, "000000", now=now)


def test_the_verification_link_is_resent_only_to_unverified_users(
    staff_client: Client, owner: User, inbox: Inbox
) -> None:
    new = UserFactory.create(username="new", email_verified_at=None)
    User.objects.filter(pk=owner.pk).update(email_verified_at=timezone.now())
    page = act(staff_client, "resend_verification", owner, new, confirmed="yes")
    assert "Skipped (nothing to do, or rate limit reached): owner." in page.text
    assert inbox.deliver() == 1
    assert len(inbox.to(new.email)) == 1
    assert AuditEvent.objects.filter(action="user.verification_sent").get().target_name == "new"


def test_resending_by_staff_is_rate_limited(
    staff_client: Client, inbox: Inbox, settings: Any
) -> None:
    settings.RATE_LIMITS = {
        **settings.RATE_LIMITS,
        "mail-address": (1, 3600),
        "mail-slowed": (1, 60),
    }
    new = UserFactory.create(email_verified_at=None)
    for _ in range(4):
        act(staff_client, "resend_verification", new, confirmed="yes")
    assert inbox.deliver() == 2
