"""Connections to the database last, and are replaced when the server has ended them."""

import pytest
from django.db import close_old_connections, connection, connections


@pytest.mark.django_db(transaction=True)
def test_the_next_request_gets_another_when_the_server_has_ended_its_own() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (ended,) = cursor.fetchone()
    other = connections.create_connection("default")
    try:
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [ended])
    finally:
        other.close()
    # As at the beginning of every request.
    close_old_connections()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        assert cursor.fetchone() != (ended,)
