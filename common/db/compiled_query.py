"""ORM queries that are compiled to SQL once.

The rule of a hot path stays in a Q object or a manager, and each request executes finished SQL:
compiling the query costs the ORM several times what PostgreSQL needs to execute it.
"""

from typing import Any

from django.db import connection
from django.db.models import QuerySet
from psycopg import sql


class CompiledQuery:
    """The SQL of a query with open parameters, which are named by the keyword arguments.

    Build the query with these values. Each must differ from all other values in it, because the
    parameters are found by value. All other values become part of the SQL text, so that
    PostgreSQL can choose an index by them.
    """

    def __init__(self, query: "QuerySet[Any, Any]", **parameters: Any) -> None:
        text, compiled = query.query.sql_with_params()
        names = {repr(value): name for name, value in parameters.items()}
        placeholders = []
        for parameter in compiled:
            value = getattr(parameter, "obj", parameter)
            name = names.get(repr(value))
            placeholders.append(f"%({name})s" if name else sql.quote(value).replace("%", "%%"))
        missing = {f"%({name})s" for name in parameters} - set(placeholders)
        assert not missing, missing  # noqa: S101 - a mistake in the code, not in a request
        self.sql = text % tuple(placeholders)

    def fetch(self, **values: Any) -> list[tuple[Any, ...]]:
        """Execute the query with these parameters and return its rows."""
        with connection.cursor() as cursor:
            cursor.execute(self.sql, values)
            found: list[tuple[Any, ...]] = cursor.fetchall()
        return found
