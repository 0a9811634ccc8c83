"""Changes to tables beside a site that runs: nobody waits for a migration longer than PATIENCE."""

from typing import Any, Self

from django.db.backends.postgresql import schema
from django.db.models import Index, Model

PATIENCE = "500ms"
"""How long a migration waits for a lock: whoever comes after it has to wait as long."""
WAKE = """
    SELECT set_config('deadlock_timeout', '200ms', true)
    WHERE has_parameter_privilege('deadlock_timeout', 'SET')
"""
"""An autovacuum gives way to who has waited for so long, by default a second: longer than we do."""


class SchemaEditor(schema.DatabaseSchemaEditor):
    """Waits briefly for what others have to wait behind, and as long as it takes for the rest."""

    def __enter__(self) -> Self:
        editor = super().__enter__()
        self._wait(PATIENCE)
        return editor

    def __exit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> None:
        if not self.atomic_migration and not self.collect_sql:
            self.execute("RESET lock_timeout")
        super().__exit__(exc_type, exc_value, traceback)

    def add_index(self, model: type[Model], index: Index, concurrently: bool = False) -> None:
        if concurrently:
            # It waits for everybody who reads or writes at the moment, but nobody waits for it.
            self._wait("0")
            # An attempt that was interrupted leaves one that is of no use.
            self.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {self.quote_name(index.name)}")
        super().add_index(model, index, concurrently=concurrently)

    def remove_index(self, model: type[Model], index: Index, concurrently: bool = False) -> None:
        if concurrently:
            self._wait("0")
        super().remove_index(model, index, concurrently=concurrently)

    def _wait(self, patience: str) -> None:
        if self.collect_sql:
            return
        with self.connection.cursor() as cursor:
            cursor.execute(
                "SELECT set_config('lock_timeout', %s, %s)", [patience, self.atomic_migration]
            )
            if self.atomic_migration:
                cursor.execute(WAKE)
