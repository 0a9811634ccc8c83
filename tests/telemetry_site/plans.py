"""The number of rows that queries read from each table, from the executed plans."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection


class ReadCounter:
    """Counts the rows read by scans of each table, and collects the statements."""

    def __init__(self) -> None:
        self.rows: Counter[str] = Counter()
        self.statements: list[str] = []

    def telemetry_rows(self) -> int:
        """Return the number of rows read from partitions of telemetry."""
        return sum(rows for table, rows in self.rows.items() if table.startswith("telemetry_20"))

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        self.statements.append(sql)
        if sql.lstrip().startswith(("SELECT", "WITH")):
            # Use a separate cursor: the cursor of the statement may be a server-side cursor, which
            # cannot run EXPLAIN.
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
def count_reads() -> Iterator[ReadCounter]:
    """Count what is read in this context."""
    found = ReadCounter()
    with connection.execute_wrapper(found):
        yield found
