from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models.functions import Lower


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("accounts", "0012_tokens_of_parent"),
    ]

    operations = [
        AddIndexConcurrently(
            model_name="user",
            index=models.Index(Lower("email"), name="users_email"),
        ),
    ]
