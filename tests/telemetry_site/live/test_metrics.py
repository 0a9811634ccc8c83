"""The metrics of the live process."""

from pathlib import Path

import pytest
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

from accounts.models import User
from common import metrics_store
from devices.models import Device
from telemetry_site.live import asgi
from tests.factories import device_token, user_token
from tests.telemetry_site.live.conftest import LiveServer, wait_until


@pytest.fixture(autouse=True)
def reset_metrics(monkeypatch: pytest.MonkeyPatch, settings: object, tmp_path: Path) -> None:
    settings.METRICS_DIR = tmp_path  # type: ignore[attr-defined]
    counter = metrics_store.MetricsCounter()
    monkeypatch.setattr(metrics_store, "counter", counter)
    monkeypatch.setattr(asgi, "counter", counter)


def read() -> dict[tuple[str, ...], float]:
    """Return every sample of the live process by its name and the values of its labels."""
    return {
        (sample.name.removeprefix("telemetry_live_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(Client().get("/metrics").content.decode())
        for sample in family.samples
        if sample.name.startswith("telemetry_live_")
    }


def test_open_polls_streams_and_responses_are_counted(
    live: LiveServer, owner: User, device: Device
) -> None:
    assert read() == {("waiting",): 0, ("streams",): 0}
    waiting = live.start_poll("/api/v1/device/commands?wait=20", device_token(device))
    stream = live.stream(user_token(owner))
    assert live.get("/api/v1/events").status == 401
    assert live.get("/elsewhere").status == 404
    wait_until(lambda: read()["waiting",] == read()["streams",] == 1)
    live.live.stop()
    assert waiting.result() == (204, [])
    stream.close()
    wait_until(lambda: not read()["waiting",] and not read()["streams",])
    assert read() == {
        ("waiting",): 0,
        ("streams",): 0,
        ("answers_total", "commands", "204"): 1,
        ("answers_total", "events", "200"): 1,
        ("answers_total", "events", "401"): 1,
        ("answers_total", "none", "404"): 1,
    }
