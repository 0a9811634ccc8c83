"""Accepted JSON objects read back equal; rejected ones leave no row.

A few examples on the test client; `make resilience NAMES=malformed_input` sends many over HTTP.
"""

import json
from typing import Any

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from psycopg import sql

from devices.models import Device
from tests.conftest import Api
from tests.malformed_input.entry_points import ENTRY_POINTS, EntryPoint, Response
from tests.malformed_input.free_json import Sent, sent_objects

pytestmark = pytest.mark.unmeasured


class InProcessSender:
    """Sends requests to the site in this process."""

    def __init__(self, device: Device, owner: Api, device_api: Api) -> None:
        self.device_id = str(device.pk)
        self.apis = {"owner": owner, "device": device_api}

    def ask(
        self, who: str, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> Response:
        kind = headers.pop("Content-Type", "application/json")
        api = self.apis[who]
        found: Any = api.send(method, path, body, content_type=kind, headers=headers)
        return Response(found.status_code, json.loads(found.content) if found.content else None)

    def rows(self, table: str) -> int:
        with connection.cursor() as cursor:
            cursor.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table)))
            return int(cursor.fetchone()[0])


@pytest.mark.parametrize("way", ENTRY_POINTS, ids=[way.name for way in ENTRY_POINTS])
def test_an_accepted_object_reads_back_equal_and_a_rejected_one_stores_nothing(
    way: EntryPoint, device: Device, owner_api: Api, device_api: Api
) -> None:
    sender = InProcessSender(device, owner_api, device_api)

    # All examples use the same device; their readings differ by time.
    @settings(max_examples=40, suppress_health_check=list(HealthCheck))
    @given(sent_objects())
    def try_it(example: Sent) -> None:
        way.try_it(sender, example)

    try_it()
