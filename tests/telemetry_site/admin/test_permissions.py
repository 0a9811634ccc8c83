"""Permissions of staff in the admin: support, operators and superusers in every table."""

from importlib import import_module
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, Permission
from django.db.models import Model
from django.test import Client, RequestFactory
from django.utils import timezone

from accounts.models import Token, User
from accounts.registration import invitations
from commands.models import Command, CommandType
from devices.models import Device, DeviceToken
from telemetry.models import RetentionRule
from tests.admin import initial_values_field
from tests.conftest import signed_in
from tests.factories import (
    CommandFactory,
    CommandTypeFactory,
    UserFactory,
    device_token,
    user_token,
)
from tests.telemetry_site.pages import admin_path

pytestmark = [pytest.mark.django_db, pytest.mark.unmeasured]

ROLES = ("support", "operator", "superuser")
# The permissions of each role per table: list, add, view, change, delete.
TABLES = {
    "accounts.auditevent": ("l v", "l v", "l v"),
    "accounts.user": ("l v", "l v c", "l a v c"),
    "accounts.registration": ("", "", "l a v d"),
    "accounts.token": ("l v", "l v", "l v"),
    "auth.group": ("", "", "l a v c d"),
    "commands.command": ("l a v", "l a v", "l a v"),
    "commands.commandbatch": ("l v", "l v", "l v"),
    "commands.commandtype": ("l v", "l a v c d", "l a v c d"),
    "devices.device": ("l v", "l a v c d", "l a v c d"),
    "procrastinate.procrastinatejob": ("l v", "l v", "l v"),
    "telemetry.retentionrule": ("l v", "l v", "l a v c d"),
    "telemetry.telemetry": ("l", "l", "l"),
}
ON_USERS = {"sign_out", "unlock", "resend_verification", "deactivate", "reactivate"}
ON_DEVICES = {"deactivate", "reactivate", "change_owner", "rotate_tokens", "purge"}
ACTIONS: dict[str, tuple[set[str], set[str], set[str]]] = {
    "accounts.auditevent": (set(), set(), set()),
    "accounts.user": (set(), *[ON_USERS] * 2),
    "accounts.registration": (set(), set(), {"delete_selected"}),
    "accounts.token": (set(), {"revoke"}, {"revoke"}),
    "auth.group": (set(), set(), {"delete_selected"}),
    "commands.command": ({"cancel", "send_again"},) * 3,
    "commands.commandbatch": ({"cancel"},) * 3,
    "commands.commandtype": (set(), {"delete_selected"}, {"delete_selected"}),
    "devices.device": ({"send_command"}, *[ON_DEVICES | {"send_command"}] * 2),
    "procrastinate.procrastinatejob": (set(), set(), set()),
    "telemetry.retentionrule": (set(), set(), {"delete_selected"}),
    "telemetry.telemetry": (set(), set(), set()),
}
HASH_PREFIXES = ("argon2", "pbkdf2", "md5$", "cheap$")


@pytest.fixture(autouse=True)
def _groups(db: None) -> None:
    """Create the groups of the migration again, because a test that commits empties every table."""
    made = import_module("telemetry_site.migrations.0001_groups")
    for name, rights in (("support", made.SUPPORT), ("operator", made.OPERATOR)):
        group, _ = Group.objects.get_or_create(name=name)
        for right in rights:
            label, codename = right.split(".")
            group.permissions.add(
                Permission.objects.get(content_type__app_label=label, codename=codename)
            )


def create_member(role: str) -> User:
    if role == "superuser":
        return UserFactory.create(username=role, is_staff=True, is_superuser=True)
    user = UserFactory.create(username=role, is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    return user


@pytest.fixture(params=ROLES)
def role(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def role_user(role: str) -> User:
    return create_member(role)


@pytest.fixture
def role_client(role_user: User) -> Client:
    return signed_in(role_user)


@pytest.fixture
def rows(owner: User, device: Device) -> dict[str, Model]:
    """Return a row of every table that has pages for rows."""
    user_token(owner)
    device_token(device)
    return {
        "accounts.user": owner,
        "accounts.registration": invitations.invite(
            UserFactory.create(is_staff=True, is_superuser=True),
            "asked@example.org",
            now=timezone.now(),
        ),
        "accounts.token": owner.tokens.get(),
        "auth.group": Group.objects.get(name="support"),
        "commands.command": CommandFactory.create(device=device),
        "commands.commandtype": CommandTypeFactory.create(),
        "devices.device": device,
        "telemetry.retentionrule": RetentionRule.objects.create(raw_days=1),
    }


def is_allowed(client: Client, method: str, path: str) -> bool:
    status = client.generic(method, path).status_code
    assert status in (200, 302, 403, 404), (path, status)
    return status in (200, 302)


def test_every_table_of_the_admin_is_in_this_module() -> None:
    known = {model._meta.label_lower for model in admin.site._registry}
    assert known == TABLES.keys() == ACTIONS.keys()


def test_each_role_has_exactly_its_permissions_on_each_table(
    role: str, role_client: Client, rows: dict[str, Model]
) -> None:
    for table, rights in TABLES.items():
        expected = rights[ROLES.index(role)].split()
        found = ["l"] if is_allowed(role_client, "GET", admin_path(table)) else []
        found += ["a"] if is_allowed(role_client, "GET", admin_path(table, "add/")) else []
        if row := rows.get(table):
            found += (
                ["v"]
                if is_allowed(role_client, "GET", admin_path(table, f"{row.pk}/change/"))
                else []
            )
            found += (
                ["c"]
                if is_allowed(role_client, "POST", admin_path(table, f"{row.pk}/change/"))
                else []
            )
            found += (
                ["d"]
                if is_allowed(role_client, "GET", admin_path(table, f"{row.pk}/delete/"))
                else []
            )
        elif "v" in expected:
            expected.remove("v")
        assert found == expected, table


def test_each_role_is_offered_its_actions_and_any_other_action_does_nothing(
    role: str, role_user: User, role_client: Client, rows: dict[str, Model]
) -> None:
    request = RequestFactory().get("/admin/")
    request.user = role_user
    every = set().union(*(actions[2] for actions in ACTIONS.values()))
    for model, model_admin in admin.site._registry.items():
        table = model._meta.label_lower
        offered = set(model_admin.get_actions(request))
        assert offered == ACTIONS[table][ROLES.index(role)], table
        if table not in rows:
            continue
        for action in sorted(every - offered):
            body = {"action": action, "_selected_action": rows[table].pk, "confirmed": "yes"}
            role_client.post(admin_path(table), {**body, "post": "yes"})
            assert type(rows[table])._default_manager.get(pk=rows[table].pk) is not None
    if role == "support":
        assert Device.objects.get().deleted_at is None
        assert Device.objects.get().deactivated_at is None
        assert User.objects.get(username="owner").is_active
        assert not DeviceToken.objects.get().revoked
        assert not Token.objects.get().revoked


def test_charts_and_purges_require_the_permission_to_view_devices(
    role_client: Client, device: Device
) -> None:
    series = f"/admin/devices/device/{device.pk}/series/"
    query = "?key=a.b&from=2025-06-15T00:00:00Z&to=2025-06-16T00:00:00Z"
    assert role_client.get("/admin/devices/device/purging/").status_code == 200
    assert role_client.get(series + query).status_code == 200
    assert role_client.get(series).status_code == 422
    charts = f"/admin/devices/device/{device.pk}/charts/"
    assert role_client.get(charts).status_code == 200
    User.objects.update(is_superuser=False)
    Group.objects.all().delete()
    assert role_client.get("/admin/devices/device/purging/").status_code == 403
    assert role_client.get(series + query).status_code == 403
    assert role_client.get(charts).status_code == 403


def test_no_page_contains_a_hash(role_client: Client, owner: User, rows: dict[str, Model]) -> None:
    hashes = [
        bytes(token.token_hash) for token in [*Token.objects.all(), *DeviceToken.objects.all()]
    ]
    assert hashes
    for table, row in rows.items():
        for end in ("", f"{row.pk}/change/"):
            page = role_client.get(admin_path(table, end)).content.decode()
            assert owner.password not in page
            assert not any(word in page for word in HASH_PREFIXES), (table, end)
            assert not any(one.hex() in page or repr(one) in page for one in hashes)


@pytest.mark.parametrize(
    "query",
    [
        "accounts/token/?token_hash__gte=00",
        "accounts/token/?user__password__startswith=a",
        "accounts/user/?password__startswith=a",
        "accounts/user/?tokens__token_hash__gte=00",
        "devices/device/?tokens__token_hash__gte=00",
        "devices/device/?user__password__startswith=a",
        "commands/command/?device__tokens__token_hash__gte=00",
        "commands/command/?issued_by__password__startswith=a",
    ],
)
def test_a_hash_cannot_be_guessed_with_a_filter(
    role_client: Client, rows: dict[str, Model], query: str
) -> None:
    answer = role_client.get(f"/admin/{query}")
    assert (answer.status_code, answer["Location"]) == (302, f"/admin/{query.split('?')[0]}?e=1")


class TestPrivilegeEscalation:
    """Only superusers can grant permissions, on any page."""

    @pytest.fixture
    def operator(self) -> User:
        # Even an operator with every single permission.
        user = create_member("operator")
        user.user_permissions.set(Permission.objects.all())
        return user

    @pytest.fixture
    def client(self, operator: User) -> Client:
        return signed_in(operator)

    @pytest.fixture(params=["superuser", "operator", "support", "themselves"])
    def above(self, request: pytest.FixtureRequest, operator: User) -> User:
        if request.param == "themselves":
            return operator
        if request.param == "operator":
            other = UserFactory.create(username="other", is_staff=True)
            other.groups.set(operator.groups.all())
            return other
        return create_member(request.param)

    def form(self, user: User, **fields: Any) -> dict[str, Any]:
        body = {"username": user.username, "email": user.email, "time_zone": "UTC"}
        return {**body, **fields}

    def test_permissions_in_a_posted_form_are_ignored(self, client: Client, owner: User) -> None:
        raised = {"is_staff": "on", "is_superuser": "on", "is_active": "on"}
        every = list(Permission.objects.values_list("pk", flat=True))
        groups = list(Group.objects.values_list("pk", flat=True))
        body = self.form(owner, **raised, groups=groups, user_permissions=every)
        path = f"/admin/accounts/user/{owner.pk}/change/"
        assert client.post(path, body | initial_values_field(client, path)).status_code == 302
        added = {"username": "new", "email": "new@example.org", "usable_password": "false"}
        client.post("/admin/accounts/user/add/", {**added, **raised, "groups": groups})
        for user in User.objects.filter(username__in=["owner", "new"]):
            assert not user.is_staff
            assert not user.is_superuser
            assert not user.groups.exists()
            assert not user.user_permissions.exists()

    def test_staff_can_be_changed_by_superusers_only(self, client: Client, above: User) -> None:
        before = User.objects.values().get(pk=above.pk)
        groups = set(above.groups.all())
        path = f"/admin/accounts/user/{above.pk}"
        body = self.form(above, email="mine@example.org", username="mine", is_superuser="on")
        assert client.post(f"{path}/change/", body).status_code == 403
        password = {"password1": "a new passphrase", "password2": "a new passphrase"}
        password["usable_password"] = "true"
        assert client.post(f"{path}/password/", password).status_code == 403
        for action in sorted(ON_USERS):
            chosen = {"action": action, "_selected_action": above.pk, "confirmed": "yes"}
            client.post("/admin/accounts/user/", chosen)
        user_token(above)
        revoke = {"action": "revoke", "_selected_action": above.tokens.get().pk}
        client.post("/admin/accounts/token/", revoke)
        now = User.objects.values().get(pk=above.pk)
        assert {**now, "last_login": None} == {**before, "last_login": None}
        assert set(above.groups.all()) == groups
        assert not above.tokens.get().revoked

    def test_groups_can_be_changed_by_superusers_only(self, client: Client) -> None:
        group = Group.objects.get(name="operator")
        held = set(group.permissions.all())
        body = {"name": "operator", "permissions": [Permission.objects.first().pk]}
        assert client.post(f"/admin/auth/group/{group.pk}/change/", body).status_code == 403
        assert client.post("/admin/auth/group/add/", {"name": "more"}).status_code == 403
        assert set(group.permissions.all()) == held

    def test_an_operator_can_change_a_user_who_is_not_staff(
        self, client: Client, owner: User
    ) -> None:
        path = f"/admin/accounts/user/{owner.pk}"
        body = self.form(owner, email="moved@example.org")
        body |= initial_values_field(client, f"{path}/change/")
        assert client.post(f"{path}/change/", body).status_code == 302
        owner.refresh_from_db()
        assert (owner.email, owner.email_verified_at) == ("moved@example.org", None)


def test_support_can_send_and_cancel_commands(device: Device) -> None:
    client = signed_in(create_member("support"))
    body = {"device": device.pk, "command_name": "reboot", "payload": "{}"}
    client.post("/admin/commands/command/add/", body)
    command = Command.objects.get()
    assert command.issued_by is not None
    assert command.issued_by.username == "support"
    page = client.get(f"/admin/commands/command/{command.pk}/change/")
    assert b"Cancel command" in page.content
    chosen = {"action": "cancel", "_selected_action": command.pk}
    client.post("/admin/commands/command/", chosen)
    command.refresh_from_db()
    assert command.reason == "cancelled"
    assert timezone.now() > command.created_at
    assert not CommandType.objects.exists()
