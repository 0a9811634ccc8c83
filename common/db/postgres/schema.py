"""Migrations while the site runs: they block requests for at most LOCK_TIMEOUT."""

from typing import Any, Self

from django.db.backends.postgresql import schema
from django.db.models import Index, Model

LOCK_TIMEOUT = "500ms"
"""A waiting migration blocks all later requests for the same lock for this long."""
DEADLOCK_TIMEOUT_SQL = """
    SELECT set_config('deadlock_timeout', '200ms', true)
    WHERE has_parameter_privilege('deadlock_timeout', 'SET')
"""
"""Autovacuum cancels itself for a transaction that has waited for deadlock_timeout. The default of
one second is longer than LOCK_TIMEOUT.
"""


class SchemaEditor(schema.DatabaseSchemaEditor):
    """Sets a lock timeout, except for statements that do not block other transactions."""

    def __enter__(self) -> Self:
        editor = super().__enter__()
        self._set_lock_timeout(LOCK_TIMEOUT)
        return editor

    def __exit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> None:
        if not self.atomic_migration and not self.collect_sql:
            self.execute("RESET lock_timeout")
        super().__exit__(exc_type, exc_value, traceback)

    def add_index(self, model: type[Model], index: Index, concurrently: bool = False) -> None:
        if concurrently:
            # It waits for all running transactions but blocks none.
            self._set_lock_timeout("0")
            # An interrupted attempt leaves an invalid index.
            self.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {self.quote_name(index.name)}")
        super().add_index(model, index, concurrently=concurrently)

    def remove_index(self, model: type[Model], index: Index, concurrently: bool = False) -> None:
        if concurrently:
            self._set_lock_timeout("0")
        super().remove_index(model, index, concurrently=concurrently)

    def _set_lock_timeout(self, timeout: str) -> None:
        if self.collect_sql:
            return
        with self.connection.cursor() as cursor:
            cursor.execute(
                "SELECT set_config('lock_timeout', %s, %s)", [timeout, self.atomic_migration]
            )
            if self.atomic_migration:
                cursor.execute(DEADLOCK_TIMEOUT_SQL)
