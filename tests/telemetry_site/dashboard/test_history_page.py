"""The history page as the server renders it, without JavaScript."""

import re
from datetime import timedelta

import pytest
from django.http import HttpResponse
from django.test import Client

from devices.models import Device
from telemetry.rollups import build as rollups
from tests.factories import NOW, store_reading, store_readings

RANGE = "from=2025-06-15T11:00:00Z&to=2025-06-15T13:00:00Z"


def text(answer: HttpResponse) -> str:
    return answer.content.decode()


@pytest.fixture
def path(device: Device) -> str:
    """Return the path for a device with three readings of two values."""
    payloads = [{"a": 1, "b": 10}, {"a": 2, "b": 20}, {"a": 6, "b": 30}]
    store_readings(device, payloads=payloads)
    # Hours may be in the queue of another test.
    rollups.process_queue()
    return f"/devices/{device.pk}/history"


def test_the_page_shows_statistics_and_readings_of_the_range(
    owner_client: Client, device: Device, path: str
) -> None:
    store_reading(device, recorded_at=NOW - timedelta(hours=3), payload={"a": 100})
    page = text(owner_client.get(f"{path}?{RANGE}"))
    stats = re.findall(r'data-stat="(\w+)">([^<]+)<', page)
    assert stats[:4] == [("min", "1"), ("mean", "3"), ("max", "6"), ("count", "3")]
    assert page.count("<tr id=") == 3
    assert "15 Jun 2025, 11:00 to 13:00 UTC" in page


def test_chips_add_and_remove_charts(owner_client: Client, path: str) -> None:
    page = text(owner_client.get(f"{path}?{RANGE}&key=environment.b"))
    assert re.findall(r'<figure class="chart card" data-key="([^"]+)"', page) == [
        "environment.b",
    ]
    chips = re.findall(r'class="chip" href="[^"]*\?([^"]+)" data-key="([^"]+)"', page)
    assert chips == [
        (f"{RANGE}&key=environment.b&key=environment.a".replace("&", "&amp;"), "environment.a"),
        (f"{RANGE}&key=environment.b".replace("&", "&amp;"), "environment.b"),
    ]


@pytest.mark.parametrize(
    "query",
    ["key=made.up", "key=%00", "key=environment.a&key=environment.a", "range=x", "from=x&to=y"],
)
def test_an_invalid_query_shows_the_default_charts(
    owner_client: Client, path: str, query: str
) -> None:
    page = text(owner_client.get(f"{path}?{query}"))
    assert 'data-key="environment.a"' in page


def test_downloads_have_the_displayed_range_and_keys(owner_client: Client, path: str) -> None:
    page = text(owner_client.get(f"{path}?{RANGE}&key=environment.a"))
    files = re.findall(r'href="(/api/v1/[^"]+export\?[^"]+)"', page)
    assert len(files) == 6
    for file in files:
        address = file.replace("&amp;", "&")
        assert RANGE in address
        answer = owner_client.get(address)
        assert answer.status_code == 200
        # Read it to its end, or the next export waits.
        list(answer.streaming_content)


def test_another_user_gets_404(stranger_client: Client, path: str) -> None:
    assert stranger_client.get(path).status_code == 404


def test_a_device_without_numbers_has_a_page_with_a_message(
    owner_client: Client, device: Device
) -> None:
    page = text(owner_client.get(f"/devices/{device.pk}/history"))
    assert "No numeric readings to chart yet." in page


def test_local_times_of_the_form_redirect_to_a_url_in_utc(owner_client: Client, path: str) -> None:
    typed = f"{path}?from=2025-06-15T11:00&to=2025-06-15T13:00&key=environment.a"
    answer = owner_client.get(typed)
    assert answer.headers["Location"] == f"{path}?{RANGE}&key=environment.a"
