"""Access to the audit trail: the API, the activity page and the admin."""

from datetime import timedelta

import pytest

from accounts.audit import log as audit
from accounts.models import AuditEvent
from devices import services as device_services
from tests.accounts.audit.trail import record, trail
from tests.admin import initial_values_field
from tests.conftest import Api
from tests.factories import NOW, user_token

pytestmark = pytest.mark.django_db


class TestApi:
    path = "/api/v1/audit"

    def test_a_user_sees_only_their_own_events(self, owner, stranger, owner_api):
        token = user_token(stranger)
        events = owner_api.get(self.path).json()["results"]
        assert [event["action"] for event in events] == ["token.issued"]
        assert [event["target_name"] for event in Api(token).get(self.path).json()["results"]] == [
            f"{token[:8]}…"
        ]

    def test_a_device_token_is_rejected_with_403(self, device_api):
        assert device_api.get(self.path).status_code == 403

    def test_events_are_paginated_with_the_newest_first(self, owner, owner_api):
        for number in range(5):
            record(target=owner, after={"n": number}, now=NOW - timedelta(days=number))
        seen, cursor = [], None
        while True:
            page = owner_api.get(
                self.path, {"limit": 2, "action": "user", **({"cursor": cursor} if cursor else {})}
            ).json()
            seen += [event["after"]["n"] for event in page["results"]]
            cursor = page["next"]
            if not cursor:
                break
        assert seen == [0, 1, 2, 3, 4]

    def test_events_are_filtered_by_action_or_by_category(self, owner, owner_api):
        audit.record("sign_in.failed", target=owner)
        for asked in ("sign_in", "sign_in.failed"):
            events = owner_api.get(self.path, {"action": asked}).json()["results"]
            assert [event["action"] for event in events] == ["sign_in.failed"]
        assert owner_api.get(self.path, {"action": "sign"}).json()["results"] == []

    @pytest.mark.parametrize("query", [{"action": "%"}, {"user": "x"}, {"action": ""}])
    def test_an_invalid_query_parameter_is_422(self, owner_api, query):
        assert owner_api.get(self.path, query).status_code == 422


class TestPage:
    path = "/account/activity"

    def test_the_page_lists_an_event_and_escapes_html(self, owner, owner_client, device):
        device_services.update_device(device, name="<b>shed</b>")
        page = owner_client.get(self.path).content.decode()
        assert "Device changed" in page
        assert "&lt;b&gt;shed&lt;/b&gt;" in page

    def test_the_page_does_not_show_events_of_other_users(self, stranger, owner_client):
        record(target=stranger)
        assert b"No activity." in owner_client.get(self.path).content

    def test_the_page_is_filtered_by_category(self, owner, owner_client):
        audit.record("sign_in.failed", target=owner)
        assert b"Sign-in failed" not in owner_client.get(f"{self.path}?about=device").content
        assert b"Sign-in failed" in owner_client.get(f"{self.path}?about=sign_in").content

    def test_the_page_is_paginated_without_gaps_or_duplicates(
        self, owner, owner_client, monkeypatch
    ):
        monkeypatch.setattr("accounts.audit.views.PAGE_SIZE", 2)
        for number in range(3):
            record(target=owner, name=f"number {number}", now=NOW - timedelta(minutes=number // 2))
        seen, query = "", ""
        for _ in range(2):
            response = owner_client.get(f"{self.path}?about=user{query}")
            seen += response.content.decode()
            query = f"&before={response.context['older']}".replace("+", "%2B")
        assert response.context["older"] is None
        assert [seen.count(f"number {number}") for number in range(3)] == [1, 1, 1]

    @pytest.mark.parametrize("query", ["about=%00", "before=x", "before=2025-01-01T00:00:00/x"])
    def test_an_invalid_query_shows_the_first_page(self, owner, owner_client, query):
        record(target=owner, name="this")
        assert b"this" in owner_client.get(f"{self.path}?{query}").content


class TestAdmin:
    path = "/admin/accounts/auditevent/"

    def test_staff_who_are_no_superusers_see_the_events_of_all_users(
        self, staff, staff_client, owner
    ):
        staff.is_superuser = False
        staff.save()
        event = record(target=owner, before={"a": "<1>"}, after={"a": 2})
        assert b"User changed" in staff_client.get(self.path).content
        page = staff_client.get(f"{self.path}{event.pk}/change/").content.decode()
        assert "&lt;1&gt;" in page

    def test_a_superuser_cannot_add_change_or_delete_an_event(self, staff_client, owner):
        event = record(target=owner)
        for path in ("add/", f"{event.pk}/delete/", f"{event.pk}/change/"):
            assert staff_client.post(f"{self.path}{path}", {"post": "yes"}).status_code == 403
        assert AuditEvent.objects.get() == event

    def test_the_list_is_searched_and_filtered(self, staff_client, owner, stranger):
        record(target=owner)
        audit.record("sign_in.failed", target=stranger)
        for query in ("q=owner", "action=user", "action=user.changed", f"target_id={owner.pk}"):
            listed = staff_client.get(f"{self.path}?{query}").context["cl"].result_list
            assert [event.owner for event in listed] == [owner]

    def test_the_history_of_a_row_redirects_to_its_audit_events(self, staff_client, device):
        response = staff_client.get(f"/admin/devices/device/{device.pk}/history/")
        assert response["Location"] == f"{self.path}?target_id={device.pk}"

    def test_changes_in_the_admin_are_recorded_with_values_before_and_after(
        self, staff_client, staff, owner
    ):
        group = "/admin/auth/group/"
        staff_client.post(f"{group}add/", {"name": "night shift"})
        (made,) = AuditEvent.objects.filter(target_kind="group")
        assert (made.action, made.actor_name) == ("group.created", "staff")
        staff_client.post(f"{group}{made.target_id}/change/", {"name": "day shift"})
        changed = AuditEvent.objects.get(action="group.changed")
        assert (changed.before, changed.after) == ({"name": "night shift"}, {"name": "day shift"})
        body = {"action": "delete_selected", "_selected_action": [made.target_id], "post": "yes"}
        staff_client.post(group, body)
        assert AuditEvent.objects.get(action="group.deleted").before["name"] == "day shift"

    def test_a_change_of_permissions_is_in_the_trail_of_the_changed_user(self, staff_client, owner):
        path = f"/admin/accounts/user/{owner.pk}/change/"
        body = {"username": "owner", "email": owner.email, "time_zone": "UTC", "is_staff": "on"}
        staff_client.post(path, body | initial_values_field(staff_client, path))
        event = AuditEvent.objects.get(action="user.changed")
        assert event.owner == owner
        assert event.after == {"is_staff": True, "email_verified_at": None}

    def test_a_catalogue_event_has_no_owner(self, staff_client):
        body = {"device_type": "pump", "command_name": "go", "title": "Go", "payload_schema": "{}"}
        body["default_expiry"] = "60"
        staff_client.post("/admin/commands/commandtype/add/", body)
        event = AuditEvent.objects.get()
        assert (event.action, event.owner) == ("catalogue.created", None)
        assert event.after["title"] == "Go"

    def test_a_retention_rule_for_a_device_is_in_the_trail_of_the_device_owner(
        self, staff_client, device, owner
    ):
        body = {"device": device.pk, "raw_days": 30}
        staff_client.post("/admin/telemetry/retentionrule/add/", body)
        assert trail(owner) == ["retention.created"]
