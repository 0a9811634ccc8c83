"""Names, units and decimals of values, displayed and changed on pages."""

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
        """Return the path of the page of a key, next to other keys."""
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

    def test_the_page_of_the_device_links_to_its_keys(
        self, owner_client: Client, device: Device, path: str
    ) -> None:
        page = text(owner_client.get(f"/devices/{device.pk}"))
        assert f'href="/devices/{device.pk}/keys"' in page

    def test_default_label_unit_and_decimals_are_placeholders(
        self, owner_client: Client, path: str
    ) -> None:
        page = text(owner_client.get(path))
        assert re.findall(r'placeholder="([^"]+)"', page) == ["temperature", "°C", "1"]

    def test_a_chosen_display_format_is_used_on_every_page(
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

    def test_charts_are_sent_again_after_their_units_changed(
        self, owner_client: Client, device: Device, path: str
    ) -> None:
        shown_now = re.search(r"now\?charts=\d+", text(owner_client.get(f"/devices/{device.pk}")))
        assert shown_now
        owner_client.post(path, {"unit": "K"})
        page = text(owner_client.get(f"/devices/{device.pk}/{shown_now.group()}"))
        assert 'id="history"' in page

    def test_an_emptied_field_returns_to_the_default(
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
    def test_an_invalid_value_shows_the_error_at_its_field(
        self, owner_client: Client, device: Device, path: str, field: str, typed: str
    ) -> None:
        answer = owner_client.post(path, {"unit": "K", field: typed})
        assert answer.status_code == 422
        assert f'id="id_{field}_error"' in text(answer)
        assert not device.keys.filter(unit="K").exists()

    def test_another_user_gets_404_and_changes_nothing(
        self, stranger_client: Client, device: Device, path: str
    ) -> None:
        assert stranger_client.get(path).status_code == 404
        assert stranger_client.post(path, {"unit": "K"}).status_code == 404
        assert not device.keys.filter(unit="K").exists()

    @pytest.mark.parametrize("name", ["environment.nothing", "environment", "a.b%00", "a b.c"])
    def test_an_unknown_key_is_404(self, owner_client: Client, device: Device, name: str) -> None:
        for ask in (owner_client.get, owner_client.post):
            assert ask(f"/devices/{device.pk}/keys/{name}").status_code == 404
