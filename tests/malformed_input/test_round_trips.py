"""Any JSON object that is accepted reads back equal; one that is refused leaves nothing.

With a few examples, on the test client: `make resilience NAMES=malformed_input` sends many over
HTTP.
"""

import json
from typing import Any

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from psycopg import sql

from devices.models import Device
from tests.conftest import Api
from tests.malformed_input.entry_points import WAYS, Answer, Way
from tests.malformed_input.free_json import Sent, sent

pytestmark = pytest.mark.unmeasured


class Within:
    """Speaks to the site in this process."""

    def __init__(self, device: Device, owner: Api, device_api: Api) -> None:
        self.device_id = str(device.pk)
        self.apis = {"owner": owner, "device": device_api}

    def ask(
        self, who: str, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> Answer:
        kind = headers.pop("Content-Type", "application/json")
        api = self.apis[who]
        found: Any = api.send(method, path, body, content_type=kind, headers=headers)
        return Answer(found.status_code, json.loads(found.content) if found.content else None)

    def rows(self, table: str) -> int:
        with connection.cursor() as cursor:
            cursor.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table)))
            return int(cursor.fetchone()[0])


@pytest.mark.parametrize("way", WAYS, ids=[way.name for way in WAYS])
def test_what_is_accepted_reads_back_equal_and_what_is_refused_leaves_nothing(
    way: Way, device: Device, owner_api: Api, device_api: Api
) -> None:
    speaker = Within(device, owner_api, device_api)

    # The device is the same for all examples; what they store is told apart by its time.
    @settings(max_examples=40, suppress_health_check=list(HealthCheck))
    @given(sent())
    def try_it(example: Sent) -> None:
        way.try_it(speaker, example)

    try_it()
