"""The list of devices and the page of a device."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import DjangoAssertNumQueries

from accounts.models import User
from commands.models import Command
from devices.models import Device
from tests.factories import (
    CommandFactory,
    DeviceFactory,
    register_key,
    store_reading,
    store_readings,
)
from tests.telemetry_site.pages import HOSTILE, create_devices, text, with_unit


class TestEveryPage:
    PATHS = ["", "/now", "/readings", "/first", "/commands/recent", "/keys"]

    @pytest.mark.parametrize("path", PATHS)
    def test_the_owner_sees_the_page(self, owner_client: Client, device: Device, path: str) -> None:
        assert owner_client.get(f"/devices/{device.pk}{path}").status_code == 200

    @pytest.mark.parametrize("path", PATHS)
    def test_another_user_gets_404(
        self, stranger_client: Client, device: Device, path: str
    ) -> None:
        answer = stranger_client.get(f"/devices/{device.pk}{path}")
        assert answer.status_code == 404
        assert "greenhouse" not in text(answer)

    @pytest.mark.parametrize("path", PATHS)
    def test_staff_get_404_for_devices_of_other_users(
        self, staff_client: Client, device: Device, path: str
    ) -> None:
        assert staff_client.get(f"/devices/{device.pk}{path}").status_code == 404

    @pytest.mark.parametrize("path", [*PATHS, "/commands"])
    def test_without_a_session_the_page_redirects_to_the_login(
        self, client: Client, device: Device, path: str
    ) -> None:
        answer = client.get(f"/devices/{device.pk}{path}")
        assert answer.headers["Location"].startswith("/sign-in?next=/devices/")

    def test_another_user_cannot_send_or_cancel_commands(
        self, stranger_client: Client, device: Device
    ) -> None:
        command = CommandFactory.create(device=device)
        sent = stranger_client.post(f"/devices/{device.pk}/commands", {"command_name": "ping"})
        path = f"/devices/{device.pk}/commands/{command.pk}/cancel"
        assert (sent.status_code, stranger_client.post(path).status_code) == (404, 404)
        assert Command.objects.get().status == "pending"

    def test_a_command_cannot_be_cancelled_by_the_url_of_another_device(
        self, stranger_client: Client, stranger: User, device: Device
    ) -> None:
        own = DeviceFactory.create(user=stranger)
        command = CommandFactory.create(device=device)
        path = f"/devices/{own.pk}/commands/{command.pk}/cancel"
        assert stranger_client.post(path).status_code == 404
        assert Command.objects.get().status == "pending"

    def test_no_page_contains_inline_scripts_or_styles(
        self, owner_client: Client, device: Device
    ) -> None:
        store_reading(device)
        key = register_key(device)
        own = f"/devices/{device.pk}"
        for path in ["/", "/devices/new", own, f"{own}/keys", f"{own}/keys/{key}", "/nope"]:
            page = text(owner_client.get(path))
            assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=", page)
            assert "hx-on" not in page

    def test_the_theme_of_the_cookie_is_in_the_page(self, owner_client: Client) -> None:
        owner_client.cookies["theme"] = "dark"
        assert 'data-theme="dark"' in text(owner_client.get("/"))

    def test_an_invalid_theme_is_escaped(self, owner_client: Client) -> None:
        owner_client.cookies["theme"] = "'><script>"
        assert "'><script>" not in text(owner_client.get("/"))


class TestDeviceList:
    def test_the_list_contains_only_devices_of_the_user(
        self, owner_client: Client, device: Device, stranger: User
    ) -> None:
        DeviceFactory.create(user=stranger, name="not mine")
        DeviceFactory.create(user=device.user, name="gone", deleted_at=timezone.now())
        page = text(owner_client.get("/"))
        assert "greenhouse" in page
        assert "not mine" not in page
        assert "gone" not in page

    def test_the_list_shows_latest_values_and_pending_commands(
        self, owner_client: Client, device: Device
    ) -> None:
        store_readings(device, payloads=[{"temperature": 20}, {"temperature": 21.43219}])
        CommandFactory.create(device=device)
        CommandFactory.create(
            device=device, created_at=timezone.now() - timedelta(hours=2), command_name="expired"
        )
        page = text(owner_client.get("/"))
        assert f"<dt>temperature</dt><dd>{with_unit('21.4', '°C')}</dd>" in page
        assert "1 pending command" in page

    def test_the_list_shows_the_status_of_each_device(
        self, owner_client: Client, owner: User
    ) -> None:
        now = timezone.now()
        DeviceFactory.create(user=owner, name="on", last_seen_at=now)
        DeviceFactory.create(user=owner, name="off", last_seen_at=now - timedelta(days=1))
        DeviceFactory.create(user=owner, name="new")
        page = text(owner_client.get("/"))
        assert re.findall(r'"state \w+">([\w ]+)<', page) == ["Never seen", "Offline", "Online"]
        assert re.findall(r">([\w ]+) <b>(\d)</b>", page) == [
            ("All", "3"),
            ("Online", "1"),
            ("Offline", "1"),
            ("Pending commands", "0"),
            ("Never seen", "1"),
        ]
        assert "<title>(1) Devices · Telemetry</title>" in page
        assert "%3E1%3C/text%3E" in page

    @pytest.mark.parametrize(
        ("query", "names"),
        [
            ("?q=NORTH", ["north"]),
            ("?q=thermo", ["south"]),
            ("?status=online", ["north"]),
            ("?status=never", ["south"]),
            ("?status=offline", ["west"]),
            ("?status=offline&q=north", []),
            ("?status=pending", ["south"]),
            ("?q=Cellar", ["west"]),
            ("?sort=seen", ["north", "west", "south"]),
            ("?sort=silent", ["south", "west", "north"]),
            ("?sort=type", ["north", "west", "south"]),
            ("?sort=added", ["west", "south", "north"]),
            ("?sort=made-up&status=online", ["north"]),
            ("?status=made-up", ["north", "south", "west"]),
            ("?q=%00north", ["north"]),
            ("?q=%25", []),
            ("?page=99999999999999999999999", ["north", "south", "west"]),
            ("?page=x", ["north", "south", "west"]),
        ],
    )
    def test_the_list_is_searched_filtered_sorted_and_paged_by_the_query(
        self, owner_client: Client, owner: User, query: str, names: list[str]
    ) -> None:
        now = timezone.now()
        DeviceFactory.create(user=owner, name="north", last_seen_at=now)
        south = DeviceFactory.create(user=owner, name="south", device_type="thermostat")
        CommandFactory.create(device=south)
        DeviceFactory.create(
            user=owner,
            name="west",
            last_seen_at=now - timedelta(days=1),
            metadata={"room": "cellar"},
        )
        for path in ("/", "/devices/rows"):
            page = text(owner_client.get(path + query))
            assert re.findall(r'class="stretched" href="[^"]+">(\w+)<', page) == names

    def test_a_sparkline_shows_the_first_value(self, owner_client: Client, device: Device) -> None:
        assert 'class="spark"' not in text(owner_client.get("/"))
        first = timezone.now() - timedelta(minutes=1)
        store_readings(device, payloads=[{"a": 1}, {"a": 2}, {"a": 1}], recorded_at=first)
        assert '<path d="M0 26L50 2L100 26" />' in text(owner_client.get("/"))

    def test_a_page_has_fifty_devices(self, owner_client: Client, owner: User) -> None:
        for _ in range(51):
            DeviceFactory.create(user=owner)
        assert text(owner_client.get("/")).count('class="stretched"') == 50
        assert text(owner_client.get("/?page=2")).count('class="stretched"') == 1

    def test_an_empty_list_links_to_the_form_for_a_new_device(self, owner_client: Client) -> None:
        page = text(owner_client.get("/"))
        assert "You have no devices yet." in page
        assert 'href="/devices/new"' in page

    def test_names_and_values_with_markup_are_escaped(
        self, owner_client: Client, owner: User
    ) -> None:
        device = DeviceFactory.create(user=owner, name=HOSTILE, device_type='"><b>')
        store_reading(device, payload={HOSTILE: HOSTILE})
        page = text(owner_client.get("/"))
        assert "&lt;img src=x onerror=alert(2)&gt;" in page
        assert "<img" not in page
        assert "<b>x" not in page
        assert "alert(1)</script>" not in page

    def test_the_list_takes_the_same_number_of_queries_for_ten_devices_as_for_one(
        self,
        owner_client: Client,
        owner: User,
        django_assert_num_queries: DjangoAssertNumQueries,
    ) -> None:
        create_devices(owner, 1)
        # Session, user, counts of the filters, count of the pages, devices, readings, units,
        # commands.
        with django_assert_num_queries(8):
            owner_client.get("/")
        create_devices(owner, 9)
        with django_assert_num_queries(8):
            owner_client.get("/")


class TestDevicePage:
    def test_the_page_shows_values_charts_and_readings(
        self, owner_client: Client, device: Device
    ) -> None:
        store_reading(device, payload={"temperature": 21.5, "mode": "auto", "gps": {"lat": 52.1}})
        page = text(owner_client.get(f"/devices/{device.pk}"))
        assert f">{with_unit('21.5', '°C')}</dd>" in page
        assert ">52.10000°</dd>" in page
        assert re.findall(r'data-key="([^"]+)"', page) == [
            "environment.gps.lat",
            "environment.temperature",
        ]
        assert "{&quot;gps&quot;: {&quot;lat&quot;: 52.1}" in page

    def test_charts_of_an_active_device_end_now(self, owner_client: Client, device: Device) -> None:
        store_reading(device, recorded_at=timezone.now())
        page = text(owner_client.get(f"/devices/{device.pk}"))
        assert 'data-end=""' in page
        assert "The last hour" in page

    def test_charts_of_an_old_data_set_end_at_its_last_reading(
        self, owner_client: Client, device: Device
    ) -> None:
        end = datetime(2015, 2, 10, 9, 33, tzinfo=UTC)
        store_reading(device, recorded_at=end)
        page = text(owner_client.get(f"/devices/{device.pk}"))
        assert f'data-end="{end.timestamp()}"' in page
        assert "9 Feb 2015, 09:33 to 10 Feb 2015, 09:33 UTC" in page
        hour = text(owner_client.get(f"/devices/{device.pk}?range=1h"))
        assert '<p class="words" role="status">10 Feb 2015, 08:33 to 09:33 UTC</p>' in hour

    @pytest.mark.parametrize(
        ("interval", "seconds"), [(1, 600), (60, 3600), (3600, 86400), (86400, 2592000)]
    )
    def test_a_longer_interval_opens_with_a_longer_range(
        self, owner_client: Client, device: Device, interval: int, seconds: int
    ) -> None:
        Device.objects.update(expected_interval=interval)
        store_reading(device, recorded_at=timezone.now())
        page = text(owner_client.get(f"/devices/{device.pk}"))
        assert f'data-seconds="{seconds}" data-end' in page

    @pytest.mark.parametrize("wanted", ["made-up", "", "%00", "1h&range=7d"])
    def test_an_invalid_range_is_ignored(
        self, owner_client: Client, device: Device, wanted: str
    ) -> None:
        store_reading(device)
        assert owner_client.get(f"/devices/{device.pk}?range={wanted}").status_code == 200

    def test_charts_are_sent_again_only_if_other_charts_are_displayed(
        self, owner_client: Client, device: Device
    ) -> None:
        store_reading(device, recorded_at=timezone.now())
        part = text(owner_client.get(f"/devices/{device.pk}/now"))
        assert 'id="history"' in part
        shown_now = re.search(r"now\?charts=\d+", part)
        assert shown_now
        again = f"/devices/{device.pk}/{shown_now.group()}"
        assert 'id="history"' not in text(owner_client.get(again))
        store_reading(device, recorded_at=timezone.now(), telemetry_type="new")
        where = {"HX-Current-URL": f"http://testserver/devices/{device.pk}?range=7d"}
        changed = text(owner_client.get(again, headers=where))
        assert 'data-key="new.temperature"' in changed
        assert "The last 7 days" in changed

    def test_many_charts_are_collapsed(self, owner_client: Client, device: Device) -> None:
        for kind in ("a", "b", "c"):
            payload = {f"key_{number}": number for number in range(12)}
            store_reading(device, telemetry_type=kind, payload=payload)
        page = text(owner_client.get(f"/devices/{device.pk}"))
        folds = re.findall(r'<details class="charts needs-js" ?(\w*)>', page)
        assert folds == ["open", "open", ""]

    def test_keys_are_in_natural_order(self, owner_client: Client, device: Device) -> None:
        store_reading(device, payload={"fan_10": 1, "fan_9": 1, "a": 1, "10": 1, "9": 1})
        page = text(owner_client.get(f"/devices/{device.pk}"))
        keys = re.findall(r'data-key="environment\.([^"]+)"', page)
        assert keys == ["9", "10", "a", "fan_9", "fan_10"]

    def test_names_and_values_with_markup_are_escaped(
        self, owner_client: Client, owner: User
    ) -> None:
        device = DeviceFactory.create(user=owner, name=HOSTILE, metadata={HOSTILE: HOSTILE})
        store_reading(device, payload={HOSTILE: HOSTILE, "n": 1})
        CommandFactory.create(
            device=device,
            command_name="x",
            payload={HOSTILE: HOSTILE},
            result={HOSTILE: HOSTILE},
        )
        page = text(owner_client.get(f"/devices/{device.pk}"))
        assert page.count("&lt;img src=x onerror=alert(2)&gt;") >= 8
        assert "<img" not in page
        assert "alert(1)</script>" not in page

    def test_the_page_takes_the_same_number_of_queries_for_many_keys_as_for_one(
        self,
        owner_client: Client,
        owner: User,
        django_assert_num_queries: DjangoAssertNumQueries,
    ) -> None:
        create_devices(owner, 1)
        path = f"/devices/{Device.objects.get().pk}"
        # Session, user, device, newest reading of each type, types, units, retention, rollup
        # watermark, the last day, the newest values of a new device, commands, catalogue, newest
        # readings, rejections.
        with django_assert_num_queries(14):
            owner_client.get(path)
        create_devices(owner, 9)
        device = Device.objects.get(pk=path[-36:])
        for number in range(10):
            store_reading(device, telemetry_type=f"t{number}", payload={"a": 1, "b": 2})
            CommandFactory.create(device=device)
        with django_assert_num_queries(14):
            owner_client.get(path)
