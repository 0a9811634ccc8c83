"""What staff do to people from the admin's list."""

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.mfa import services as mfa
from accounts.models import AuditEvent, User
from tests.conftest import Api
from tests.factories import PASSWORD, UserFactory, second_factor_of, user_token
from tests.mail import Inbox

pytestmark = pytest.mark.django_db


def act(client: Client, action: str, *users: User, **more: str) -> Any:
    body = {"action": action, "_selected_action": [user.pk for user in users], **more}
    return client.post("/admin/accounts/user/", body, follow=True)


def test_somebody_deactivated_is_out_at_once_with_all_that_is_theirs(
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


def test_somebody_signed_out_signs_in_again_and_their_devices_go_on(
    staff_client: Client, owner: User, owner_client: Client, device_api: Any
) -> None:
    token = user_token(owner)
    page = staff_client.get(f"/admin/accounts/user/{owner.pk}/change/").content.decode()
    assert "Second factor" in page
    assert Api(token).get("/api/v1/devices").status_code == 200
    act(staff_client, "sign_out", owner, confirmed="yes")
    assert owner_client.get("/").status_code == 302
    assert Api(token).get("/api/v1/devices").status_code == 401
    assert device_api.get("/api/v1/device").status_code == 200
    assert Client().login(username="owner", password=PASSWORD)


def test_nobody_shuts_themselves_out(staff: User, staff_client: Client) -> None:
    page = act(staff_client, "deactivate", staff, confirmed="yes")
    assert b"You may not do this to staff." in page.content
    staff.refresh_from_db()
    assert staff.is_active


def tried_too_often(name: str) -> None:
    for _ in range(11):
        answer = Client().post("/sign-in", {"username": name, "password": "wrong"})
    assert answer.status_code == 429


@pytest.mark.parametrize("name", ["owner", "OWNER@example.org"])
def test_somebody_locked_out_is_shown_so_and_signs_in_at_once_when_unlocked(
    staff_client: Client, owner: User, name: str
) -> None:
    User.objects.filter(pk=owner.pk).update(email="owner@example.org")
    right = {"username": "owner", "password": PASSWORD}
    page = f"/admin/accounts/user/{owner.pk}/change/"
    assert "Too many tries" not in staff_client.get(page).text
    tried_too_often(name)
    assert "Too many tries" in staff_client.get(page).text
    assert Client().post("/sign-in", {**right, "username": name}).status_code == 429
    act(staff_client, "unlock", owner)
    assert "Too many tries" in staff_client.get(page).text
    act(staff_client, "unlock", owner, confirmed="yes")
    assert "Too many tries" not in staff_client.get(page).text
    assert Client().post("/sign-in", {**right, "username": name}).status_code == 302
    assert AuditEvent.objects.filter(action="user.unlocked", target_id=str(owner.pk)).exists()


def test_unlocking_one_lets_nobody_else_in(staff_client: Client, owner: User) -> None:
    other = UserFactory.create(username="other")
    tried_too_often("other")
    act(staff_client, "unlock", owner, confirmed="yes")
    body = {"username": "other", "password": PASSWORD}
    assert Client().post("/sign-in", body).status_code == 429
    act(staff_client, "unlock", other, confirmed="yes")
    assert Client().post("/sign-in", body).status_code == 302


def test_unlocking_forgets_wrong_codes_of_the_second_factor_too(
    staff_client: Client, owner: User, settings: Any
) -> None:
    now = timezone.now()
    second_factor_of(owner, now=now)
    for _ in range(settings.RATE_LIMITS["second-factor"][0]):
        with pytest.raises(mfa.InvalidCode):
            mfa.verify_code(owner, "000000", now=now)
    with pytest.raises(mfa.TooManyAttempts):
        mfa.verify_code(owner, "000000", now=now)
    act(staff_client, "unlock", owner, confirmed="yes")
    with pytest.raises(mfa.InvalidCode):
        mfa.verify_code(owner, "000000", now=now)


def test_the_link_is_mailed_again_to_whoever_has_not_opened_it(
    staff_client: Client, owner: User, inbox: Inbox
) -> None:
    new = UserFactory.create(username="new", email_verified_at=None)
    User.objects.filter(pk=owner.pk).update(email_verified_at=timezone.now())
    page = act(staff_client, "resend_verification", owner, new, confirmed="yes")
    assert "Nothing to do, or too often: owner." in page.text
    assert inbox.deliver() == 1
    assert len(inbox.to(new.email)) == 1
    assert AuditEvent.objects.filter(action="user.verification_sent").get().target_name == "new"


def test_staff_flood_nobody_with_mail(staff_client: Client, inbox: Inbox, settings: Any) -> None:
    settings.RATE_LIMITS = {
        **settings.RATE_LIMITS,
        "mail-address": (1, 3600),
        "mail-slowed": (1, 60),
    }
    new = UserFactory.create(email_verified_at=None)
    for _ in range(4):
        act(staff_client, "resend_verification", new, confirmed="yes")
    assert inbox.deliver() == 2
