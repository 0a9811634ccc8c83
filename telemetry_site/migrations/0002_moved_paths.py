"""Update the Python paths of the authentication backend in sessions and of tasks in queued jobs:
both have moved.
"""

from typing import Any

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY
from django.contrib.sessions.backends.base import SessionBase
from django.db import migrations

BACKEND = "accounts.backends.UsernameOrEmailBackend"
TASKS = {
    "accounts.tasks.deliver": "accounts.tasks.send_mail",
    "accounts.tasks.forget_ended": "accounts.tasks.delete_expired_registrations_and_counters",
}


class SessionStore(SessionBase):
    """Encodes and decodes sessions. The name of the class is part of the signature."""


def move_backend(apps: Any, schema_editor: Any) -> None:
    """Set the new path of the backend in each session with the old one."""
    store = SessionStore()
    for session in apps.get_model("accounts", "Session").objects.exclude(user=None).iterator():
        content = store.decode(session.data)
        if content.get(BACKEND_SESSION_KEY) == BACKEND:
            content[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
            session.data = store.encode(content)
            session.save(update_fields=["data"])


def move_tasks(apps: Any, schema_editor: Any) -> None:
    """Set the new path of the task in each job and each record of a periodic job."""
    with schema_editor.connection.cursor() as cursor:
        for table in ("procrastinate_jobs", "procrastinate_periodic_defers"):
            for old, new in TASKS.items():
                cursor.execute(
                    f"UPDATE {table} SET task_name = %s WHERE task_name = %s",  # noqa: S608
                    [new, old],
                )


class Migration(migrations.Migration):
    dependencies = [
        ("telemetry_site", "0001_groups"),
        ("accounts", "0018_codes_counted_by_throttles"),
        ("procrastinate", "0041_post_retry_failed_job"),
    ]
    operations = [
        migrations.RunPython(move_backend, migrations.RunPython.noop),
        migrations.RunPython(move_tasks, migrations.RunPython.noop),
    ]
