"""/metrics: the content for Prometheus, and who may read it."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from common import metrics_store
from devices.models import Device
from telemetry_site.middleware import request_metrics
from telemetry_site.operations import metrics
from tests.conftest import Api
from tests.factories import CommandFactory

pytestmark = pytest.mark.django_db
TELEMETRY = "/api/v1/device/telemetry"
GOOD = {
    "telemetry_type": "environment",
    "payload": {"a": 1},
    "recorded_at": "2025-06-15T11:00:00Z",
}
BAD = {"telemetry_type": "environment", "payload": {"a": "\0"}}


@pytest.fixture(autouse=True)
def reset_metrics(monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Any) -> None:
    settings.METRICS_DIR = tmp_path
    counter = metrics_store.MetricsCounter()
    monkeypatch.setattr(metrics_store, "counter", counter)
    monkeypatch.setattr(request_metrics, "counter", counter)


def read(**headers: str) -> dict[tuple[str, ...], float]:
    """Return every sample by its name and the values of its labels."""
    answer = Client(headers=headers).get("/metrics")
    assert answer.status_code == 200
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.content.decode())
        for sample in family.samples
    }


def test_readings_are_counted_by_their_outcome(device_api: Api) -> None:
    assert device_api.post(TELEMETRY, GOOD).status_code == 201
    assert device_api.post(TELEMETRY, GOOD).status_code == 200
    other = GOOD | {"payload": {"a": 2}}
    assert device_api.post(TELEMETRY, [GOOD, other, BAD]).status_code == 201
    assert device_api.post(TELEMETRY, BAD).status_code == 422
    found = read()
    assert found["telemetry_readings_total", "accepted"] == 2
    assert found["telemetry_readings_total", "duplicate"] == 2
    assert found["telemetry_readings_total", "rejected"] == 1
    assert found["telemetry_refused_total", "nul-character"] == 2
    assert found["telemetry_request_seconds_count", "ingest", "201"] == 2
    assert found["telemetry_request_seconds_count", "ingest", "422"] == 1
    assert found["telemetry_request_seconds_bucket", "ingest", "+Inf", "201"] == 2
    assert found["telemetry_request_seconds_sum", "ingest", "201"] > 0


def test_readings_of_the_fast_path_and_of_imports_are_counted(
    device: Device, device_api: Api, owner_api: Api
) -> None:
    for second in range(3):
        reading = GOOD | {"recorded_at": f"2025-06-15T11:00:0{second}Z"}
        assert device_api.post(TELEMETRY, reading).status_code == 201
    table = b"recorded_at,temperature\n2025-06-15T10:00:00Z,1\n2025-06-15T10:00:01Z,2\nsoon,3\n"
    where = f"/api/v1/devices/{device.pk}/telemetry/import?telemetry_type=environment"
    for dry_run, status in (("true", 200), ("false", 200)):
        answer = owner_api.post(f"{where}&dry_run={dry_run}", table, content_type="text/csv")
        assert answer.status_code == status, answer.content
    found = read()
    assert found["telemetry_readings_total", "accepted"] == 5
    assert found["telemetry_readings_total", "rejected"] == 1


def test_rejected_requests_are_counted_by_code(anonymous_api: Api, owner_api: Api) -> None:
    assert anonymous_api.get("/api/v1/devices").status_code == 401
    assert owner_api.get("/api/v1/nothing").status_code == 404
    found = read()
    assert found["telemetry_refused_total", "401"] == 1
    assert found["telemetry_refused_total", "404"] == 1
    assert found["telemetry_request_seconds_count", "api", "401"] == 1


def test_the_state_of_the_database_is_reported(device: Device) -> None:
    now = timezone.now()
    with connection.cursor() as cursor:
        # Rows of tests that commit.
        cursor.execute("DELETE FROM telemetry_dirty")
        cursor.execute("INSERT INTO telemetry_dirty VALUES (%s, %s)", [device.pk, now])
    for seconds in (90, 30):
        CommandFactory.create(device=device, created_at=now - timedelta(seconds=seconds))
    CommandFactory.create(device=device, created_at=now - timedelta(hours=2))
    found = read()
    assert found["telemetry_database_up",] == 1
    assert found["telemetry_commands_pending",] == 2
    assert 80 < found["telemetry_command_oldest_seconds",] < 100
    assert found["telemetry_rollup_lag_seconds",] > 0
    assert found["telemetry_rollup_queue_rows",] == 1
    assert found["telemetry_database_connections", "active"] >= 1
    assert found["telemetry_database_connections_max",] > 1
    assert found["telemetry_database_size_bytes",] > 1_000_000
    assert found["telemetry_disk_free_bytes",] > 0


def test_without_the_database_the_counters_are_reported(
    monkeypatch: pytest.MonkeyPatch, anonymous_api: Api
) -> None:
    def raise_operational_error(sql: str) -> None:
        raise OperationalError

    anonymous_api.get("/api/v1/devices")
    monkeypatch.setattr(metrics, "_rows", raise_operational_error)
    found = read()
    assert found["telemetry_database_up",] == 0
    assert found["telemetry_refused_total", "401"] == 1


@pytest.mark.parametrize(
    "how",
    [
        {"REMOTE_ADDR": "192.168.1.7"},
        {"HTTP_X_FORWARDED_FOR": "127.0.0.1"},
        {"HTTP_X_FORWARDED_PROTO": "https"},
        {"HTTP_VIA": "1.1 proxy"},
    ],
)
def test_remote_and_proxied_requests_are_404(how: dict[str, str]) -> None:
    answer = Client().get("/metrics", **how)
    assert answer.status_code == 404
    assert b"telemetry_readings" not in answer.content


def test_with_a_metrics_token_only_its_bearer_can_read(settings: Any) -> None:
    settings.METRICS_TOKEN = "swordfish"
    elsewhere = {"REMOTE_ADDR": "192.168.1.7"}
    right, wrong = {"Authorization": "Bearer swordfish"}, {"Authorization": "Bearer é"}
    assert Client().get("/metrics", headers=right, **elsewhere).status_code == 200
    assert Client().get("/metrics", headers=wrong, **elsewhere).status_code == 404
    assert Client().get("/metrics").status_code == 404
