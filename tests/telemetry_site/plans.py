"""What statements read of which table, as PostgreSQL carried them out."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection


class Reads:
    """How many rows each table's scans have looked at, and how many statements there were."""

    def __init__(self) -> None:
        self.rows: Counter[str] = Counter()
        self.statements: list[str] = []

    def of_months(self) -> int:
        """Rows of telemetry, whichever month they are in."""
        return sum(rows for table, rows in self.rows.items() if table.startswith("telemetry_20"))

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        self.statements.append(sql)
        if sql.lstrip().startswith(("SELECT", "WITH")):
            # By a cursor of its own: that of the statement may be one that explains nothing.
            with connection.connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", params)
                self._collect(cursor.fetchone()[0][0]["Plan"])
        return execute(sql, params, many, context)

    def _collect(self, node: dict[str, Any]) -> None:
        if "Relation Name" in node:
            looked_at = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
            self.rows[node["Relation Name"]] += round(looked_at * node["Actual Loops"])
        for inner in node.get("Plans", []):
            self._collect(inner)


@contextmanager
def reads() -> Iterator[Reads]:
    """What is read inside."""
    found = Reads()
    with connection.execute_wrapper(found):
        yield found
