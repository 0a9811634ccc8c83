"""Two claims at once: neither waits for the other, and no command is handed out twice."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection, connections

from commands import lifecycle
from commands.models import Command
from tests.factories import NOW, CommandFactory, DeviceFactory


@pytest.fixture
def elsewhere() -> Iterator[Any]:
    """The connection of another process."""
    other = connections.create_connection("default")
    with other.cursor() as cursor:
        cursor.execute("BEGIN")
        yield cursor
        cursor.execute("ROLLBACK")
    other.close()


@pytest.mark.django_db(transaction=True)
def test_a_command_that_somebody_is_claiming_is_passed_over(elsewhere: Any) -> None:
    device = DeviceFactory.create()
    taken, free = (CommandFactory.create(device=device, created_at=NOW) for _ in range(2))
    elsewhere.execute("SELECT FROM commands WHERE id = %s FOR NO KEY UPDATE", [taken.pk])
    with connection.cursor() as ours:
        # Who waits all the same fails soon.
        ours.execute("SET lock_timeout = 100")
        try:
            claimed = lifecycle.claim(device, now=NOW)
        finally:
            ours.execute("SET lock_timeout = 2000")
    assert claimed == [free]
    assert Command.objects.get(pk=taken.pk).attempts == 0
