"""Who is shown what of the trail: over the API, on a page, in the admin."""

from datetime import timedelta

import pytest

from accounts.audit import log as audit
from accounts.models import AuditEvent
from devices import services as device_services
from tests.accounts.audit.trail import record, trail
from tests.admin import opened_with
from tests.conftest import Api
from tests.factories import NOW, user_token

pytestmark = pytest.mark.django_db


class TestApi:
    path = "/api/v1/audit"

    def test_everybody_sees_their_own(self, owner, stranger, owner_api):
        token = user_token(stranger)
        events = owner_api.get(self.path).json()["results"]
        assert [event["action"] for event in events] == ["token.issued"]
        assert [event["target_name"] for event in Api(token).get(self.path).json()["results"]] == [
            f"{token[:8]}…"
        ]

    def test_a_device_sees_none(self, device_api):
        assert device_api.get(self.path).status_code == 403

    def test_they_come_by_the_page_newest_first(self, owner, owner_api):
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

    def test_an_action_or_all_of_a_kind_can_be_asked_for(self, owner, owner_api):
        audit.record("sign_in.failed", target=owner)
        for asked in ("sign_in", "sign_in.failed"):
            events = owner_api.get(self.path, {"action": asked}).json()["results"]
            assert [event["action"] for event in events] == ["sign_in.failed"]
        assert owner_api.get(self.path, {"action": "sign"}).json()["results"] == []

    @pytest.mark.parametrize("query", [{"action": "%"}, {"user": "x"}, {"action": ""}])
    def test_another_question_is_422(self, owner_api, query):
        assert owner_api.get(self.path, query).status_code == 422


class TestPage:
    path = "/account/activity"

    def test_it_tells_what_happened(self, owner, owner_client, device):
        device_services.update_device(device, name="<b>shed</b>")
        page = owner_client.get(self.path).content.decode()
        assert "Device changed" in page
        assert "&lt;b&gt;shed&lt;/b&gt;" in page

    def test_it_shows_nobody_elses(self, stranger, owner_client):
        record(target=stranger)
        assert b"Nothing here." in owner_client.get(self.path).content

    def test_it_can_be_narrowed_down(self, owner, owner_client):
        audit.record("sign_in.failed", target=owner)
        assert b"Sign-in refused" not in owner_client.get(f"{self.path}?about=device").content
        assert b"Sign-in refused" in owner_client.get(f"{self.path}?about=sign_in").content

    def test_it_is_turned_page_by_page(self, owner, owner_client, monkeypatch):
        monkeypatch.setattr("accounts.audit.views.PAGE_SIZE", 2)
        for number in range(3):
            record(target=owner, name=f"number {number}", now=NOW - timedelta(minutes=number // 2))
        seen, query = "", ""
        for _ in range(2):
            answer = owner_client.get(f"{self.path}?about=user{query}")
            seen += answer.content.decode()
            query = f"&before={answer.context['older']}".replace("+", "%2B")
        assert answer.context["older"] is None
        assert [seen.count(f"number {number}") for number in range(3)] == [1, 1, 1]

    @pytest.mark.parametrize("query", ["about=%00", "before=x", "before=2025-01-01T00:00:00/x"])
    def test_a_made_up_query_is_the_first_page(self, owner, owner_client, query):
        record(target=owner, name="this")
        assert b"this" in owner_client.get(f"{self.path}?{query}").content


class TestAdmin:
    path = "/admin/accounts/auditevent/"

    def test_all_staff_see_everybodys(self, staff, staff_client, owner):
        staff.is_superuser = False
        staff.save()
        event = record(target=owner, before={"a": "<1>"}, after={"a": 2})
        assert b"User changed" in staff_client.get(self.path).content
        page = staff_client.get(f"{self.path}{event.pk}/change/").content.decode()
        assert "&lt;1&gt;" in page

    def test_not_even_superusers_change_it(self, staff_client, owner):
        event = record(target=owner)
        for path in ("add/", f"{event.pk}/delete/", f"{event.pk}/change/"):
            assert staff_client.post(f"{self.path}{path}", {"post": "yes"}).status_code == 403
        assert AuditEvent.objects.get() == event

    def test_it_is_searched_and_filtered(self, staff_client, owner, stranger):
        record(target=owner)
        audit.record("sign_in.failed", target=stranger)
        for query in ("q=owner", "action=user", "action=user.changed", f"target_id={owner.pk}"):
            listed = staff_client.get(f"{self.path}?{query}").context["cl"].result_list
            assert [event.owner for event in listed] == [owner]

    def test_the_history_of_a_row_is_its_part_of_the_trail(self, staff_client, device):
        answer = staff_client.get(f"/admin/devices/device/{device.pk}/history/")
        assert answer["Location"] == f"{self.path}?target_id={device.pk}"

    def test_what_staff_change_is_told_with_before_and_after(self, staff_client, staff, owner):
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

    def test_a_change_of_rights_is_in_the_trail_of_whose_they_are(self, staff_client, owner):
        path = f"/admin/accounts/user/{owner.pk}/change/"
        body = {"username": "owner", "email": owner.email, "time_zone": "UTC", "is_staff": "on"}
        staff_client.post(path, body | opened_with(staff_client, path))
        event = AuditEvent.objects.get(action="user.changed")
        assert event.owner == owner
        assert event.after == {"is_staff": True, "email_verified_at": None}

    def test_a_catalogue_belongs_to_nobody(self, staff_client):
        body = {"device_type": "pump", "command_name": "go", "title": "Go", "payload_schema": "{}"}
        body["default_expiry"] = "60"
        staff_client.post("/admin/commands/commandtype/add/", body)
        event = AuditEvent.objects.get()
        assert (event.action, event.owner) == ("catalogue.created", None)
        assert event.after["title"] == "Go"

    def test_a_rule_for_a_device_is_its_owners_business(self, staff_client, device, owner):
        body = {"device": device.pk, "raw_days": 30}
        staff_client.post("/admin/telemetry/retentionrule/add/", body)
        assert trail(owner) == ["retention.created"]
