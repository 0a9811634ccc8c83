"""Names, units and decimals of values, as pages show and change them."""

import re

import pytest
from django.test import Client

from devices.models import Device
from tests.factories import (
    register_key,
    store_reading,
)
from tests.telemetry_site.pages import text, with_unit


class TestUnits:
    @pytest.fixture
    def path(self, device: Device) -> str:
        """Of the page of a key, beside two others."""
        payload = {"zone_10": 2, "zone_9": 1, "temperature": 21.5, "mode": "auto", "up": True}
        store_reading(device, payload=payload)
        for name in payload:
            register_key(device, f"environment.{name}")
        register_key(device, "battery.voltage")
        return f"/devices/{device.pk}/keys/environment.temperature"

    def test_every_key_is_listed_with_its_newest_value(
        self, owner_client: Client, device: Device, path: str
    ) -> None:
        page = text(owner_client.get(f"/devices/{device.pk}/keys"))
        assert re.findall(r'href="/devices/[^"]+/keys/([^"]+)"', page) == [
            "battery.voltage",
            "environment.mode",
            "environment.temperature",
            "environment.up",
            "environment.zone_9",
            "environment.zone_10",
        ]
        samples = re.findall(r'class="sample">(.*?)</span>\s*</li>', page)
        assert samples == [
            '<span class="muted">V</span>',
            "auto",
            with_unit("21.5", "°C"),
            *("true", "1", "2"),
        ]

    def test_a_device_page_leads_to_them(
        self, owner_client: Client, device: Device, path: str
    ) -> None:
        page = text(owner_client.get(f"/devices/{device.pk}"))
        assert f'href="/devices/{device.pk}/keys"' in page

    def test_what_the_name_tells_is_shown_where_nothing_was_chosen(
        self, owner_client: Client, path: str
    ) -> None:
        page = text(owner_client.get(path))
        assert re.findall(r'placeholder="([^"]+)"', page) == ["temperature", "°C", "1"]

    def test_what_is_chosen_is_shown_everywhere(
        self, owner_client: Client, device: Device, path: str
    ) -> None:
        form = {"label": "Room <b>", "unit": "K", "decimals": "3"}
        answer = owner_client.post(path, form)
        keys = f"/devices/{device.pk}/keys"
        assert answer.headers["Location"] == f"{keys}#environment.temperature"
        assert 'value="Room &lt;b&gt;"' in text(owner_client.get(path))
        for where in ("/", f"/devices/{device.pk}", f"/devices/{device.pk}/now", keys):
            page = text(owner_client.get(where))
            assert "Room &lt;b&gt;" in page
            assert with_unit("21.500", "K") in page
        figure = re.search(r"<figure[^>]+temperature[^>]+>", text(owner_client.get(keys[:-5])))
        assert figure
        assert 'data-label="Room &lt;b&gt;" data-unit="K" data-decimals="3"' in figure.group()

    def test_charts_come_again_when_their_units_were_changed(
        self, owner_client: Client, device: Device, path: str
    ) -> None:
        shown_now = re.search(r"now\?charts=\d+", text(owner_client.get(f"/devices/{device.pk}")))
        assert shown_now
        owner_client.post(path, {"unit": "K"})
        page = text(owner_client.get(f"/devices/{device.pk}/{shown_now.group()}"))
        assert 'id="history"' in page

    def test_what_is_left_empty_is_told_by_the_name_again(
        self, owner_client: Client, device: Device, path: str
    ) -> None:
        owner_client.post(path, {"label": "Room", "unit": "1", "decimals": "0"})
        assert ">22</dd>" in text(owner_client.get(f"/devices/{device.pk}"))
        owner_client.post(path, {"label": "", "unit": "", "decimals": ""})
        page = text(owner_client.get(f"/devices/{device.pk}"))
        assert with_unit("21.5", "°C") in page
        assert "Room" not in page

    @pytest.mark.parametrize(
        ("field", "typed"),
        [
            ("label", "x" * 65),
            ("unit", "x" * 17),
            ("decimals", "11"),
            ("decimals", "-1"),
            ("decimals", "many"),
            ("label", "\0"),
        ],
    )
    def test_what_cannot_be_is_told_at_its_field(
        self, owner_client: Client, device: Device, path: str, field: str, typed: str
    ) -> None:
        answer = owner_client.post(path, {"unit": "K", field: typed})
        assert answer.status_code == 422
        assert f'id="id_{field}_error"' in text(answer)
        assert not device.keys.filter(unit="K").exists()

    def test_a_stranger_finds_and_changes_nothing(
        self, stranger_client: Client, device: Device, path: str
    ) -> None:
        assert stranger_client.get(path).status_code == 404
        assert stranger_client.post(path, {"unit": "K"}).status_code == 404
        assert not device.keys.filter(unit="K").exists()

    @pytest.mark.parametrize("name", ["environment.nothing", "environment", "a.b%00", "a b.c"])
    def test_a_key_that_was_never_sent_is_404(
        self, owner_client: Client, device: Device, name: str
    ) -> None:
        for ask in (owner_client.get, owner_client.post):
            assert ask(f"/devices/{device.pk}/keys/{name}").status_code == 404
