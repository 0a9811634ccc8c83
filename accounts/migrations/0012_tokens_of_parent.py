from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("accounts", "0011_end_of_access"),
    ]

    operations = [
        AddIndexConcurrently(
            model_name="token",
            index=models.Index(
                condition=models.Q(("parent__isnull", False)),
                fields=["parent"],
                name="tokens_of_parent",
            ),
        ),
    ]
