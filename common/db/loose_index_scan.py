"""Distinct values of an indexed column, by a loose index scan."""

from typing import LiteralString

from django.db import connection, models
from psycopg import sql

LOOSE_INDEX_SCAN_SQL = """
    WITH RECURSIVE found AS (
        (SELECT {column} AS value FROM {table} WHERE {where} ORDER BY {column} LIMIT 1)
        UNION ALL
        SELECT (
            SELECT {column} FROM {table} WHERE {where} AND {column} > found.value
            ORDER BY {column} LIMIT 1
        ) FROM found WHERE found.value IS NOT NULL
    ) SELECT value FROM found WHERE value IS NOT NULL LIMIT %s
"""
"""https://wiki.postgresql.org/wiki/Loose_indexscan"""


def distinct_values(
    model: type[models.Model], column: str, *, limit: int, where: LiteralString = "true"
) -> list[str]:
    """Return the first `limit` distinct values of the rows that satisfy `where`, in order."""
    query = sql.SQL(LOOSE_INDEX_SCAN_SQL).format(
        table=sql.Identifier(model._meta.db_table),
        column=sql.Identifier(column),
        where=sql.SQL(where),
    )
    with connection.cursor() as cursor:
        cursor.execute(query.as_string(), [limit])
        return [value for (value,) in cursor.fetchall()]
