"""Django's PostgreSQL backend, with a check of the connection that costs no round trip, and with
changes to tables that keep nobody waiting.
"""

import select
from typing import Any

from django.db.backends.postgresql import base
from psycopg import pq

from common.db import arrays
from common.db.postgres.schema import SchemaEditor

BROKEN = {pq.TransactionStatus.INERROR, pq.TransactionStatus.UNKNOWN}
"""A transaction in which something has failed; a connection that is closed."""


class DatabaseWrapper(base.DatabaseWrapper):
    """Connections last, and each request first sees whether its own still does."""

    SchemaEditorClass = SchemaEditor

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        connection = super().get_new_connection(conn_params)
        arrays.register(connection)
        return connection

    def is_usable(self) -> bool:
        """Whether the server still holds its end, and would carry a statement out.

        It has been asked nothing, so there is nothing to read but its farewell. A server that
        vanished without one is found out by the statement itself, as it would be by `SELECT 1`.
        """
        if self.connection is None or self.connection.pgconn.transaction_status in BROKEN:
            return False
        waiting = select.poll()
        waiting.register(self.connection.fileno(), select.POLLIN)
        return not waiting.poll(0)
