"""The admin on large tables: each page takes few queries and reads no more than one page of
rows.
"""

import re
from datetime import UTC, date, datetime, timedelta

import pytest
from django.conf import settings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import User
from commands.models import Command
from common.db import loose_index_scan
from devices import rejections
from devices import services as device_services
from devices.models import Device
from devices.rejections import RejectionReason
from telemetry.retention import partitions
from telemetry.retention.partitions import Partition
from telemetry.rollups import build as rollups
from tests.factories import (
    NOW,
    CommandFactory,
    CommandTypeFactory,
    DeviceFactory,
    UserFactory,
    device_token,
    store_readings,
    user_token,
)
from tests.telemetry_site.plans import count_reads

pytestmark = pytest.mark.django_db

MOST_STATEMENTS = 25


@pytest.fixture
def busy(owner: User, device: Device) -> Device:
    """A device with readings of two months, among other devices with as many."""
    for one in [device, *DeviceFactory.create_batch(60, user=owner)]:
        device_token(one)
        CommandFactory.create(device=one)
    for one in Device.objects.all()[:3]:
        for start in (NOW, NOW + timedelta(days=30)):
            payloads = [{"n": number} for number in range(150)]
            store_readings(one, payloads=payloads, recorded_at=start)
    store_readings(device, payloads=[{"n": number} for number in range(400)])
    CommandTypeFactory.create()
    user_token(owner)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    return device


def pages(device: Device) -> list[str]:
    command = device.commands.get()
    token = device.user.tokens.get()
    return [
        "/admin/",
        "/admin/accounts/user/",
        "/admin/accounts/user/?q=own",
        f"/admin/accounts/user/{device.user.pk}/change/",
        "/admin/accounts/user/add/",
        "/admin/accounts/token/",
        "/admin/accounts/auditevent/",
        "/admin/accounts/auditevent/?action=device.created&means__exact=session&q=green",
        f"/admin/accounts/token/{token.pk}/change/",
        "/admin/auth/group/",
        "/admin/devices/device/",
        "/admin/devices/device/?status=online&type=generic",
        f"/admin/devices/device/?q=green&user__exact={device.user.pk}",
        f"/admin/devices/device/{device.pk}/change/",
        "/admin/devices/device/add/",
        "/admin/devices/device/purging/",
        "/admin/telemetry/telemetry/",
        f"/admin/telemetry/telemetry/?device={device.pk}",
        f"/admin/telemetry/telemetry/?device={device.pk}&type=environment",
        "/admin/telemetry/retentionrule/",
        "/admin/commands/command/",
        f"/admin/commands/command/?status__exact=pending&device__exact={device.pk}",
        "/admin/commands/command/?q=reb",
        f"/admin/commands/command/{command.pk}/change/",
        "/admin/commands/command/add/",
        "/admin/commands/commandtype/",
        "/admin/procrastinate/procrastinatejob/",
        "/admin/procrastinate/procrastinatejob/?status__exact=failed",
    ]


def test_every_page_takes_few_queries_and_does_not_count_readings(
    staff_client: Client, busy: Device
) -> None:
    for path in pages(busy):
        with count_reads() as found:
            assert staff_client.get(path).status_code == 200, path
        assert len(found.statements) <= MOST_STATEMENTS, path
        for sql in found.statements:
            over_readings = re.search(r'FROM "?telemetry"?\s', sql)
            assert not (over_readings and re.search(r"COUNT\(|OFFSET", sql)), (path, sql)


@pytest.mark.parametrize(
    ("path", "most"),
    [
        ("/admin/", 0),
        ("/admin/devices/device/", 0),
        ("/admin/devices/device/?q=green", 0),
        ("/admin/commands/command/", 0),
        ("/admin/telemetry/telemetry/", 0),
        ("/admin/telemetry/telemetry/?device={}", 51),
    ],
)
def test_a_list_reads_at_most_one_page_of_readings(
    staff_client: Client, busy: Device, path: str, most: int
) -> None:
    with count_reads() as found:
        assert staff_client.get(path.format(busy.pk)).status_code == 200
    assert found.telemetry_rows() <= most


def test_every_page_of_commands_reads_only_its_own_rows(
    staff_client: Client, device: Device
) -> None:
    made = [NOW + timedelta(seconds=number) for number in range(2000)]
    Command.objects.bulk_create(
        CommandFactory.build(
            device=device,
            created_at=time,
            expires_at=time + timedelta(hours=1),
            status="failed",
            reason="expired",
        )
        for time in made
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE commands")
    path, seen = "/admin/commands/command/", []
    for _ in range(3):
        with count_reads() as found:
            page = staff_client.get(path).context["cl"]
        assert found.rows["commands"] <= 2 * 51
        seen += [command.created_at for command in page.result_list]
        path = f"/admin/commands/command/{page.older}"
    assert seen == made[:-151:-1]
    back = staff_client.get(f"/admin/commands/command/{page.newer}").context["cl"]
    assert [command.created_at for command in back.result_list] == seen[50:100]


@pytest.mark.parametrize("cursor", ["x", "bnVsbA==", "WyJvbGRlciIsICJ4IiwgInkiXQ==", "1"])
def test_an_invalid_cursor_shows_the_first_page(
    staff_client: Client, device: Device, cursor: str
) -> None:
    command = CommandFactory.create(device=device)
    page = staff_client.get(f"/admin/commands/command/?p={cursor}")
    assert list(page.context["cl"].result_list) == [command]


class TestSearch:
    @pytest.fixture
    def found(self, staff_client: Client, device: Device) -> Device:
        metadata = {"rack": {"slots": [{"serial": "BX-1042"}]}, "floor": 7731}
        device_services.update_device(device, metadata=metadata)
        DeviceFactory.create(metadata={"serial": "BX-1043"})
        return device

    @pytest.mark.parametrize(
        "text", ["greenh", "OWNER", "owner@exam", "BX-1042", "7731", "{id}", " BX-1042 "]
    )
    def test_devices_are_found_by_name_owner_email_metadata_and_id(
        self, staff_client: Client, found: Device, text: str
    ) -> None:
        query = {"q": text.format(id=found.pk)}
        page = staff_client.get("/admin/devices/device/", query)
        assert list(page.context["cl"].result_list) == [found]

    @pytest.mark.parametrize("text", ["BX-104", 'x"', "$.**", "\\", "{}", "00000000", "1e5"])
    def test_a_search_without_a_match_is_empty(
        self, staff_client: Client, found: Device, text: str
    ) -> None:
        page = staff_client.get("/admin/devices/device/", {"q": text})
        assert list(page.context["cl"].result_list) == []

    def test_a_search_for_a_metadata_value_uses_the_index(self, found: Device) -> None:
        with connection.cursor() as cursor:
            # For so few rows the planner would choose a sequential scan.
            cursor.execute("SET LOCAL enable_seqscan = off")
        plan = Device.objects.search("BX-1042").explain()
        assert "devices_metadata" in plan

    def test_commands_are_found_by_name_device_and_id(
        self, staff_client: Client, device: Device
    ) -> None:
        command = CommandFactory.create(device=device)
        CommandFactory.create(command_name="update")
        for text in ("rebo", "greenhouse", str(command.pk), str(device.pk)):
            page = staff_client.get("/admin/commands/command/", {"q": text})
            assert list(page.context["cl"].result_list) == [command]


def test_the_filter_of_types_contains_the_types_of_active_devices(owner: User) -> None:
    for kind in ("pump", "pump", "thermostat", "fan"):
        DeviceFactory.create(user=owner, device_type=kind)
    DeviceFactory.create(user=owner, device_type="gone", deleted_at=timezone.now())

    def types(limit: int) -> list[str]:
        return loose_index_scan.distinct_values(
            Device, "device_type", limit=limit, where="deleted_at IS NULL"
        )

    assert types(10) == ["fan", "pump", "thermostat"]
    assert types(2) == ["fan", "pump"]


def test_commands_are_found_by_a_case_insensitive_prefix_of_their_name(
    staff_client: Client, device: Device
) -> None:
    for name in ("Reboot", "reboot_later", "set_reboot"):
        CommandFactory.create(device=device, command_name=name)
    page = staff_client.get("/admin/commands/command/?q=REBOOT").text
    assert ">Reboot<" in page
    assert ">reboot_later<" in page
    assert ">set_reboot<" not in page


def test_a_search_for_an_unknown_command_name_does_not_query_the_commands(
    staff_client: Client, device: Device
) -> None:
    CommandFactory.create(device=device)
    with CaptureQueriesContext(connection) as seen:
        page = staff_client.get("/admin/commands/command/?q=nothing").text
    assert "reboot" not in page
    assert not [one for one in seen.captured_queries if '"commands"."id"' in one["sql"]]


def test_the_history_in_the_admin_links_to_pages_of_the_admin_only(
    staff_client: Client, device: Device
) -> None:
    store_readings(device, payloads=[{"temperature": 21}])
    here = f"/admin/devices/device/{device.pk}"
    for page in (f"{here}/change/", f"/admin/telemetry/telemetry/?device={device.pk}"):
        assert f'href="{here}/charts/"' in staff_client.get(page).text
    page = staff_client.get(f"{here}/charts/").text
    assert f'data-series="{here}/series/"' in page
    assert f'href="{here}/change/"' in page
    # The API returns 404 for devices of other users.
    assert f"/devices/{device.pk}/telemetry" not in page
    assert f'href="/devices/{device.pk}' not in page


class TestOverview:
    def test_devices_are_counted_by_status(self, staff_client: Client, owner: User) -> None:
        now = timezone.now()
        DeviceFactory.create_batch(2, user=owner, last_seen_at=now)
        DeviceFactory.create(user=owner, last_seen_at=now - timedelta(days=1))
        DeviceFactory.create(user=owner, deactivated_at=now)
        DeviceFactory.create(user=owner, deleted_at=now)
        shown = staff_client.get("/admin/").context["devices"]
        expected = {"all": 4, "online": 2, "offline": 1, "never": 1, "deactivated": 1}
        assert shown == expected

    def test_the_rate_of_readings_is_shown(self, staff_client: Client, device: Device) -> None:
        hour = NOW - timedelta(hours=1)
        day = NOW.replace(hour=0) - timedelta(days=1)
        # Two values in each reading, and another device with only one of them.
        payloads = [{"a": number, "b": 1} for number in range(120)]
        store_readings(device, payloads=payloads, recorded_at=hour)
        store_readings(device, payloads=payloads[:60], recorded_at=day)
        store_readings(DeviceFactory.create(), payloads=[{"a": 1}] * 1, recorded_at=hour)
        rollups.process_queue()
        rate = staff_client.get("/admin/").context["rate"]
        assert rate.per_minute == pytest.approx(121 / 60)
        assert (rate.per_day, rate.exact) == (60, True)

    def test_the_oldest_pending_command_is_shown(
        self, staff_client: Client, device: Device
    ) -> None:
        now = timezone.now()
        oldest = CommandFactory.create(device=device, created_at=now - timedelta(minutes=9))
        CommandFactory.create(device=device, created_at=now - timedelta(minutes=2))
        ended = now - timedelta(hours=2)
        CommandFactory.create(device=device, created_at=ended, status="executed", executed_at=ended)
        assert staff_client.get("/admin/").context["oldest"] == oldest

    def test_the_most_frequent_recent_rejections_are_shown_first(
        self, staff_client: Client, device: Device
    ) -> None:
        now, other = timezone.now(), DeviceFactory.create()
        for one, code, times, ago in (
            (device, "too_old", 2, timedelta(hours=1)),
            (other, "too_old", 3, timedelta(hours=2)),
            (other, "not_an_object", 4, timedelta(0)),
            (other, "forgotten", 9, timedelta(days=2)),
        ):
            why = [RejectionReason(code, times, "/0", "")]
            rejections.record(one.pk, why, status=422, request_id="", now=now - ago)
        page = staff_client.get("/admin/")
        found = [(one.code, one.device, total) for one, total in page.context["refusals"]]
        assert found == [("too_old", device, 5), ("not_an_object", other, 4)]
        assert "not_an_object" in page.text

    def test_failed_and_late_jobs_are_shown(self, staff_client: Client) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                """
                INSERT INTO procrastinate_jobs (queue_name, task_name, status, scheduled_at)
                SELECT 'default', 'telemetry.tasks.roll_up', status::procrastinate_job_status, due
                FROM (VALUES ('failed', NULL), ('todo', now() - interval '10 minutes'),
                    ('todo', now() + interval '10 minutes')) AS job(status, due)
                """
            )
            cursor.execute("UPDATE procrastinate_events SET at = now() - interval '10 minutes'")
        jobs = staff_client.get("/admin/").context["jobs"]
        assert (jobs.failed, jobs.late, jobs.failing, jobs.alive) == (1, 1, ["roll_up"], False)

    def test_storage_is_shown_by_table_and_period(
        self, staff_client: Client, device: Device
    ) -> None:
        store_readings(device, payloads=[{"n": number} for number in range(500)])
        disk = staff_client.get("/admin/").context["disk"]
        month = Partition(date(2025, 6, 1), date(2025, 7, 1))
        assert dict(disk.sizes.partitions)[month] > 100_000
        assert {"telemetry", "devices", "commands"} <= dict(disk.sizes.tables).keys()
        assert "Size of readings by period" in staff_client.get("/admin/").text
        # The free disk space of a database on another machine is unknown.
        here = settings.DATABASES["default"]["ENGINE"] == "common.db.embedded"
        assert (disk.free is not None) is here

    @pytest.mark.parametrize(
        ("language", "caption", "months"),
        [
            ("en", "Size of readings by period", "May 2002 \N{EN DASH} December 2002"),
            ("de", "Größe der Messwerte je Zeitraum", "Mai 2002 \N{EN DASH} Dezember 2002"),
        ],
    )
    def test_the_periods_of_partitions_are_named_in_the_language_of_the_user(
        self, staff_client: Client, language: str, caption: str, months: str
    ) -> None:
        partitions.ensure([date(2002, 4, 1)], now=datetime(2003, 1, 1, tzinfo=UTC))
        partitions.ensure([date(2001, 3, 1), date(2002, 5, 1)], now=NOW)
        page = staff_client.get("/admin/", headers={"Accept-Language": language}).text
        part = page.partition(f"<caption>{caption}</caption>")[2]
        named = re.findall(r'<th scope="row">(.+?)</th>', part.partition("</table>")[0])
        assert "April 2002" in named
        assert months in named
        assert "2001" in named

    def test_staff_without_the_permission_to_view_devices_see_no_overview(
        self, staff: User, staff_client: Client
    ) -> None:
        User.objects.filter(pk=staff.pk).update(is_superuser=False)
        assert "devices" not in staff_client.get("/admin/").context


def test_a_user_who_is_not_staff_gets_403(owner_client: Client) -> None:
    answer = owner_client.get("/admin/", follow=True)
    assert answer.status_code == 403


def test_the_admin_uses_the_login_page_of_the_site(client: Client) -> None:
    UserFactory.create()
    answer = client.get("/admin/devices/device/", follow=True)
    assert answer.redirect_chain[-1][0] == "/sign-in?next=/admin/devices/device/"
