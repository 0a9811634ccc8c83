"""Persistent database connections are replaced after the server has closed them."""

import pytest
from django.db import close_old_connections, connection, connections


@pytest.mark.django_db(transaction=True)
def test_a_closed_connection_is_replaced_for_the_next_request() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (ended_pid,) = cursor.fetchone()
    other = connections.create_connection("default")
    try:
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [ended_pid])
    finally:
        other.close()
    # Django does this at the start of every request.
    close_old_connections()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        assert cursor.fetchone() != (ended_pid,)
