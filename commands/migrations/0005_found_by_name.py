from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    """The index is created concurrently, so that no request waits for it."""

    atomic = False

    dependencies = [
        ("commands", "0004_commands_tell"),
    ]

    operations = [
        AddIndexConcurrently(
            model_name="command",
            index=models.Index(fields=["command_name"], name="commands_of_name"),
        ),
    ]
