"""A page of the admin that was opened a while ago undoes nothing that happened since."""

from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.utils import timezone

from accounts.models import AccessEnded, User
from accounts.profile import services as profile
from accounts.users import deletion, permissions
from accounts.users.admin import UserAdmin
from tests.admin import filled_in

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
def test_what_somebody_else_has_changed_meanwhile_is_not_written_back(
    staff_client: Client, owner: User, changed: dict[str, Any], label: str
) -> None:
    form = filled_in(staff_client, path_of(owner), language="de")
    User.objects.filter(pk=owner.pk).update(**changed)
    answer = staff_client.post(path_of(owner), form)
    assert answer.status_code == 200
    assert f"Changed since you opened this page: {label}." in answer.content.decode()
    owner.refresh_from_db()
    assert {name: getattr(owner, name) for name in changed} == changed
    assert owner.language == ""
    # Sent once more it is refused once more: the page has to be opened again.
    assert staff_client.post(path_of(owner), form).status_code == 200
    form = filled_in(staff_client, path_of(owner), language="de")
    assert staff_client.post(path_of(owner), form).status_code == 302


def test_groups_given_meanwhile_are_not_taken_away(staff_client: Client, owner: User) -> None:
    form = filled_in(staff_client, path_of(owner), language="de")
    owner.groups.add(Group.objects.get_or_create(name="support")[0])
    answer = staff_client.post(path_of(owner), form)
    assert b"Changed since you opened this page: Groups." in answer.content
    assert owner.groups.exists()


@pytest.mark.parametrize("given", ["", "[]", "{}", "no JSON"])
def test_a_form_that_does_not_say_what_it_was_opened_with_saves_nothing(
    staff_client: Client, owner: User, given: str
) -> None:
    form = filled_in(staff_client, path_of(owner), email="new@example.org", opened_with=given)
    assert staff_client.post(path_of(owner), form).status_code == 200
    owner.refresh_from_db()
    assert owner.email == "owner@example.org"


def after_reading(monkeypatch: pytest.MonkeyPatch, work: Any) -> None:
    """Do this when a request of the admin has read the user, and has not saved it yet."""
    read = UserAdmin.get_object

    def read_and_work(*args: Any) -> Any:
        found = read(*args)
        work()
        return found

    monkeypatch.setattr(UserAdmin, "get_object", read_and_work)


def test_what_the_form_does_not_show_is_not_written_back(
    staff_client: Client, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = {"is_active": False, "pending_email": "new@example.org", "access_generation": 7}
    form = filled_in(staff_client, path_of(owner), language="de")
    after_reading(monkeypatch, lambda: User.objects.filter(pk=owner.pk).update(**changed))
    assert staff_client.post(path_of(owner), form).status_code == 302
    owner.refresh_from_db()
    assert owner.language == "de"
    assert {name: getattr(owner, name) for name in changed} == changed


class TestClosedAccounts:
    """The account is closed while a request that has read it is at work."""

    @pytest.fixture
    def stale(self, owner: User) -> User:
        stale = User.objects.get(pk=owner.pk)
        deletion.close_account(owner, now=timezone.now())
        return stale

    def test_a_form_is_not_saved(
        self, staff_client: Client, owner: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        form = filled_in(staff_client, path_of(owner), language="de")
        fresh = User.objects.get(pk=owner.pk)
        after_reading(monkeypatch, lambda: deletion.close_account(fresh, now=timezone.now()))
        answer = staff_client.post(path_of(owner), form)
        assert b"This was deleted. Nothing was saved." in answer.content
        owner.refresh_from_db()
        assert owner.deleted_at is not None
        assert owner.email.endswith("@deleted.invalid")

    def test_staff_do_not_let_it_in_again(self, stale: User, staff: User) -> None:
        with pytest.raises(permissions.UserPermissionDenied):
            permissions.reactivate(stale, by=staff)
        assert not User.objects.get(pk=stale.pk).is_active

    def test_nobody_may_change_it(self, stale: User, staff: User) -> None:
        assert permissions.can_change_user(staff, stale)
        assert not permissions.can_change_user(staff, User.objects.get(pk=stale.pk))

    def test_its_user_does_not_name_it(self, stale: User) -> None:
        with pytest.raises(AccessEnded):
            profile.update_profile(stale, username="back")
        assert User.objects.get(pk=stale.pk).username != "back"
