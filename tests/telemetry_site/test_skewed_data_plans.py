"""Skewed data: one device has all commands and one user all events; lists of others stay fast."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, models
from psycopg import ClientCursor

from accounts.models import AuditEvent
from commands.models import Command
from devices.models import Device
from tests.factories import NOW, DeviceFactory

ROWS = 5000
COMMANDS = """
    INSERT INTO commands (id, device_id, command_name, payload, status, reason, attempts,
        created_at, expires_at, finished_at, executed_at, late, idempotency_key)
    SELECT gen_random_uuid(), %(device)s, 'ping', '{}', 'executed', '', 1,
        time, time + interval '1 hour', time, time, false, ''
    FROM (SELECT %(now)s + n * interval '1 s' AS time FROM generate_series(1, %(rows)s) AS n) AS at
"""
EVENTS = """
    INSERT INTO audit_events (id, created_at, action, owner_id, actor_name, means, means_id,
        means_name, target_kind, target_id, target_name)
    SELECT gen_random_uuid(), %(now)s + n * interval '1 s', 'device.changed', %(owner)s,
        '', 'nothing', '', '', 'device', %(device)s::text, ''
    FROM generate_series(1, %(rows)s) AS n
"""
Listed = Callable[[Device], models.QuerySet[Any]]


def fill(device: Device) -> None:
    """Create commands and events that all belong to this device and its owner."""
    values = {"device": device.pk, "owner": device.user_id, "now": NOW, "rows": ROWS}
    with connection.cursor() as cursor:
        cursor.execute(COMMANDS, values)
        cursor.execute(EVENTS, values)
        cursor.execute("ANALYZE commands, audit_events")


def discarded_rows(queryset: models.QuerySet[Any], *, plan: str) -> int:
    """Return the number of rows that the query reads and discards, with this kind of plan."""
    sql, params = queryset.query.sql_with_params()
    for number in range(1, len(params) + 1):
        sql = sql.replace("%s", f"${number}", 1)
    with ClientCursor(connection.connection) as cursor:
        cursor.execute(f"SET LOCAL plan_cache_mode = force_{plan}_plan".encode())
        cursor.execute(f"PREPARE listed AS {sql}".encode())
        values = ", ".join(["%s"] * len(params))
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE listed({values})".encode(), params)
        root = cursor.fetchone()[0][0]["Plan"]  # type: ignore[index]
        cursor.execute(b"DEALLOCATE listed")
    return removed_rows(root)


def removed_rows(node: dict[str, Any]) -> int:
    own = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    return round(own) + sum(removed_rows(inner) for inner in node.get("Plans", []))


@pytest.mark.parametrize("plan", ["generic", "custom"])
@pytest.mark.parametrize(
    "listed",
    [
        lambda device: Command.objects.filter(device=device),
        lambda device: AuditEvent.objects.for_owner(device.user),
        lambda device: AuditEvent.objects.for_target(device),
    ],
    ids=["commands", "events of a user", "events about a device"],
)
def test_a_list_without_rows_reads_no_rows_of_others(
    device: Device, listed: Listed, plan: str
) -> None:
    fill(DeviceFactory.create())
    assert discarded_rows(listed(device)[:101], plan=plan) == 0


@pytest.mark.parametrize("plan", ["generic", "custom"])
def test_a_list_of_old_rows_reads_no_newer_rows_of_others(device: Device, plan: str) -> None:
    fill(device)
    other = DeviceFactory.create()
    newest = Command.objects.values_list("pk", flat=True)[: ROWS // 3]
    Command.objects.filter(pk__in=list(newest)).update(device=other)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE commands")
    assert discarded_rows(Command.objects.filter(device=device)[:101], plan=plan) == 0
