"""Watches are stored by user, one row each, instead of by device.

The old table stays until the trigger of commands no longer reads it (commands 0007).
"""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

VIEW = """
    CREATE VIEW watched_devices AS
        SELECT devices.id AS device_id, devices.user_id
        FROM devices JOIN user_watches USING (user_id)
        WHERE devices.deleted_at IS NULL AND user_watches.until > now()
"""


class Migration(migrations.Migration):
    dependencies = [
        ("devices", "0005_refusals"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(state_operations=[migrations.DeleteModel("Watch")]),
        migrations.CreateModel(
            name="Watch",
            fields=[
                (
                    "user",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                ("until", models.DateTimeField()),
            ],
            options={
                "db_table": "user_watches",
            },
        ),
        migrations.RunSQL(VIEW, "DROP VIEW watched_devices"),
    ]
