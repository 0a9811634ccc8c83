"""An old form of the admin does not overwrite changes made after it was opened."""

from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.utils import timezone

from accounts.models import AccessEnded, User
from accounts.profile import services as profile
from accounts.users import deletion, permissions
from accounts.users.admin import UserAdmin
from tests.admin import form_data

pytestmark = pytest.mark.django_db


def path_of(user: User) -> str:
    return f"/admin/accounts/user/{user.pk}/change/"


@pytest.mark.parametrize(
    ("changed", "label"),
    [
        ({"username": "renamed"}, "Username"),
        ({"email": "new@safe.example"}, "Email"),
        ({"email_verified_at": None}, "Email verified at"),
        ({"time_zone": "Asia/Tokyo"}, "Time zone"),
        ({"is_staff": True}, "Is staff"),
    ],
)
def test_a_field_changed_after_the_form_was_opened_is_not_overwritten(
    staff_client: Client, owner: User, changed: dict[str, Any], label: str
) -> None:
    form = form_data(staff_client, path_of(owner), language="de")
    User.objects.filter(pk=owner.pk).update(**changed)
    answer = staff_client.post(path_of(owner), form)
    assert answer.status_code == 200
    assert f"Changed since you opened this page: {label}." in answer.content.decode()
    owner.refresh_from_db()
    assert {name: getattr(owner, name) for name in changed} == changed
    assert owner.language == ""
    # The same form is rejected again: the page must be reopened.
    assert staff_client.post(path_of(owner), form).status_code == 200
    form = form_data(staff_client, path_of(owner), language="de")
    assert staff_client.post(path_of(owner), form).status_code == 302


def test_groups_added_after_the_form_was_opened_are_not_removed(
    staff_client: Client, owner: User
) -> None:
    form = form_data(staff_client, path_of(owner), language="de")
    owner.groups.add(Group.objects.get_or_create(name="support")[0])
    answer = staff_client.post(path_of(owner), form)
    assert b"Changed since you opened this page: Groups." in answer.content
    assert owner.groups.exists()


@pytest.mark.parametrize("given", ["", "[]", "{}", "no JSON"])
def test_a_form_without_its_initial_values_saves_nothing(
    staff_client: Client, owner: User, given: str
) -> None:
    form = form_data(staff_client, path_of(owner), email="new@example.org", opened_with=given)
    assert staff_client.post(path_of(owner), form).status_code == 200
    owner.refresh_from_db()
    assert owner.email == "owner@example.org"


def after_reading(monkeypatch: pytest.MonkeyPatch, work: Any) -> None:
    """Run this after a request of the admin has read the user and before it saves."""
    read = UserAdmin.get_object

    def read_and_work(*args: Any) -> Any:
        found = read(*args)
        work()
        return found

    monkeypatch.setattr(UserAdmin, "get_object", read_and_work)


def test_fields_that_are_not_in_the_form_are_not_overwritten(
    staff_client: Client, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = {"is_active": False, "pending_email": "new@example.org", "access_generation": 7}
    form = form_data(staff_client, path_of(owner), language="de")
    after_reading(monkeypatch, lambda: User.objects.filter(pk=owner.pk).update(**changed))
    assert staff_client.post(path_of(owner), form).status_code == 302
    owner.refresh_from_db()
    assert owner.language == "de"
    assert {name: getattr(owner, name) for name in changed} == changed


class TestClosedAccounts:
    """The account is closed during a request that has read it."""

    @pytest.fixture
    def stale(self, owner: User) -> User:
        stale = User.objects.get(pk=owner.pk)
        deletion.close_account(owner, now=timezone.now())
        return stale

    def test_a_form_for_a_closed_account_is_not_saved(
        self, staff_client: Client, owner: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        form = form_data(staff_client, path_of(owner), language="de")
        fresh = User.objects.get(pk=owner.pk)
        after_reading(monkeypatch, lambda: deletion.close_account(fresh, now=timezone.now()))
        answer = staff_client.post(path_of(owner), form)
        assert b"This entry has been deleted. Nothing was saved." in answer.content
        owner.refresh_from_db()
        assert owner.deleted_at is not None
        assert owner.email.endswith("@deleted.invalid")

    def test_a_closed_account_cannot_be_reactivated(self, stale: User, staff: User) -> None:
        with pytest.raises(permissions.UserPermissionDenied):
            permissions.reactivate(stale, actor=staff)
        assert not User.objects.get(pk=stale.pk).is_active

    def test_a_closed_account_cannot_be_changed_by_staff(self, stale: User, staff: User) -> None:
        assert permissions.can_change_user(staff, stale)
        assert not permissions.can_change_user(staff, User.objects.get(pk=stale.pk))

    def test_a_closed_account_cannot_change_its_username(self, stale: User) -> None:
        with pytest.raises(AccessEnded):
            profile.update_profile(stale, username="back")
        assert User.objects.get(pk=stale.pk).username != "back"
