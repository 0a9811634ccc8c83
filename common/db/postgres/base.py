"""Django's PostgreSQL backend, with a connection check without a round trip and with a lock timeout
for migrations.
"""

import select
from typing import Any

from django.db.backends.postgresql import base
from psycopg import pq

from common.db import arrays
from common.db.postgres.schema import SchemaEditor

BROKEN = {pq.TransactionStatus.INERROR, pq.TransactionStatus.UNKNOWN}
"""The states of a failed transaction and of a closed connection."""


class DatabaseWrapper(base.DatabaseWrapper):
    """Keeps connections open. Each request checks its connection before it uses it."""

    SchemaEditorClass = SchemaEditor

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        connection = super().get_new_connection(conn_params)
        arrays.register(connection)
        return connection

    def is_usable(self) -> bool:
        """Return whether the connection is open and not in a failed transaction.

        No statement is running, so readable data can only mean that the server closed the
        connection. If the server disappeared without closing it, the next statement fails, as
        `SELECT 1` would.
        """
        if self.connection is None or self.connection.pgconn.transaction_status in BROKEN:
            return False
        poll = select.poll()
        poll.register(self.connection.fileno(), select.POLLIN)
        return not poll.poll(0)
