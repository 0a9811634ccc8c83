"""Migrations run while devices send: they never hold or wait for a lock on a table for long."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import pytest
from django.contrib.postgres.operations import (
    AddConstraintNotValid,
    AddIndexConcurrently,
    RemoveIndexConcurrently,
    ValidateConstraint,
)
from django.core.management import call_command
from django.db import OperationalError, connection, connections, migrations, models, transaction
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from psycopg import errors

from commands.models import Command
from telemetry_site.management.commands import migrate

BEFORE_THE_RULE = {"accounts": 8, "commands": 5, "devices": 5, "telemetry": 3, "telemetry_site": 1}
"""By app, the number of the last migration written before this rule."""
BRIEF = (
    migrations.CreateModel,
    migrations.DeleteModel,
    migrations.RemoveField,
    migrations.RemoveConstraint,
    migrations.AlterModelOptions,
    migrations.AlterModelManagers,
    AddIndexConcurrently,
    RemoveIndexConcurrently,
    AddConstraintNotValid,
    ValidateConstraint,
    # These must be reviewed by a developer.
    migrations.RunSQL,
    migrations.RunPython,
)
"""Operations that lock an existing table only briefly."""


def operations_of(migration: migrations.Migration) -> Iterator[Operation]:
    """Yield the operations on tables that existed before the migration."""
    made: set[str] = set()
    for operation in migration.operations:
        if isinstance(operation, migrations.SeparateDatabaseAndState):
            yield from operation.database_operations
            continue
        if isinstance(operation, migrations.CreateModel):
            made.add(operation.name_lower)
        if getattr(operation, "model_name_lower", None) not in made:
            yield operation


def is_brief(operation: Operation) -> bool:
    """Return whether the operation locks the table only briefly, for any number of rows."""
    if isinstance(operation, migrations.AddField):
        field = operation.field
        filled = field.null or field.has_default() or field.has_db_default() or field.blank
        return filled and not (field.unique or field.db_index or field.remote_field)
    return isinstance(operation, BRIEF)


def test_new_migrations_lock_no_table_for_long() -> None:
    loader = MigrationLoader(None)
    slow = [
        f"{app}.{name}: {operation.describe()}"
        for (app, name), migration in loader.disk_migrations.items()
        if int(name[:4] if name[:4].isdecimal() else 0) > BEFORE_THE_RULE.get(app, 10_000)
        for operation in operations_of(migration)
        if not is_brief(operation)
    ]
    assert slow == [], "see CONTRIBUTING.md, Migrations"


@pytest.mark.parametrize(
    ("operation", "brief"),
    [
        (migrations.AddIndex("command", models.Index(fields=["status"], name="a")), False),
        (AddIndexConcurrently("command", models.Index(fields=["status"], name="a")), True),
        (migrations.AddField("command", "a", models.IntegerField(null=True)), True),
        (migrations.AddField("command", "a", models.IntegerField(null=True, unique=True)), False),
        (migrations.AlterField("command", "a", models.BigIntegerField()), False),
    ],
)
def test_brief_and_long_operations_are_distinguished(operation: Operation, brief: bool) -> None:
    assert is_brief(operation) is brief


@pytest.mark.django_db(transaction=True)
class TestConcurrentUse:
    def test_a_migration_waits_for_a_lock_only_briefly(self) -> None:
        field = models.IntegerField(null=True)
        field.set_attributes_from_name("a")
        with in_use(Command), connection.schema_editor() as editor:
            assert (setting("lock_timeout"), setting("deadlock_timeout")) == ("500ms", "200ms")
            with pytest.raises(OperationalError) as raised:
                editor.add_field(Command, field)
            assert isinstance(raised.value.__cause__, errors.LockNotAvailable)

    def test_a_role_without_the_right_to_set_deadlock_timeout_can_migrate(self) -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL ROLE pg_monitor")
            with connection.schema_editor():
                assert setting("deadlock_timeout") == "1s"

    def test_an_index_is_created_concurrently_without_a_lock_timeout(self) -> None:
        index = models.Index(fields=["attempts"], name="of_a_test")
        before = setting("lock_timeout")
        try:
            for _ in range(2):
                # The second run is like one after an interruption.
                with connection.schema_editor(atomic=False) as editor:
                    editor.add_index(Command, index, concurrently=True)
                    assert setting("lock_timeout") == "0"
        finally:
            with connection.schema_editor(atomic=False) as editor:
                editor.remove_index(Command, index, concurrently=True)
        assert setting("lock_timeout") == before

    def test_a_migration_is_retried_after_a_lock_timeout(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        locked = OperationalError()
        locked.__cause__ = errors.LockNotAvailable()
        tries = mock.Mock(side_effect=[locked, locked, None])
        monkeypatch.setattr(migrate.migrate.Command, "handle", tries)
        monkeypatch.setattr(migrate, "sleep", slept := mock.Mock())
        call_command("migrate", verbosity=0, stdout=mock.Mock())
        assert [call.args for call in slept.call_args_list] == [(1,), (2,)]


@contextmanager
def in_use(model: type[models.Model]) -> Iterator[None]:
    """Hold a transaction on another connection that has read the table."""
    other = connections.create_connection("default")
    try:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute(f"SELECT FROM {model._meta.db_table} LIMIT 1")
        yield
    finally:
        other.rollback()
        other.close()


def setting(name: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute(f"SHOW {name}")
        return str(cursor.fetchone()[0])
