"""Queries of the ORM that are put into SQL once.

A rule of a hot path stays where it is, in a Q object or a manager, and each request pays for the
statement alone: making it anew costs the ORM several times what PostgreSQL needs to answer it.
"""

from typing import Any

from django.db import connection
from django.db.models import QuerySet
from psycopg import sql


class CompiledQuery:
    """A query in which some values are left open: those of `gaps`, by their names.

    The query is made with these values in it, each unlike all others, and they are then looked
    for among its parameters. What else it was made with becomes a part of its text, so that
    PostgreSQL can choose an index by it.
    """

    def __init__(self, query: "QuerySet[Any, Any]", **gaps: Any) -> None:
        text, parameters = query.query.sql_with_params()
        names = {repr(value): name for name, value in gaps.items()}
        places = []
        for parameter in parameters:
            value = getattr(parameter, "obj", parameter)
            name = names.get(repr(value))
            places.append(f"%({name})s" if name else sql.quote(value).replace("%", "%%"))
        missing = {f"%({name})s" for name in gaps} - set(places)
        assert not missing, missing  # noqa: S101 - a mistake in the code, whatever the request
        self.sql = text % tuple(places)

    def rows(self, **values: Any) -> list[tuple[Any, ...]]:
        """What the query finds with these values in its gaps."""
        with connection.cursor() as cursor:
            cursor.execute(self.sql, values)
            found: list[tuple[Any, ...]] = cursor.fetchall()
        return found
