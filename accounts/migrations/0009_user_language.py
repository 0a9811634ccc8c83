from django.db import migrations, models

import accounts.models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0008_locked_by_name"),
    ]

    operations = [
        migrations.AddField(
            model_name="user",
            name="language",
            field=models.CharField(
                blank=True,
                max_length=16,
                validators=[accounts.models.validate_language],
                verbose_name="language",
            ),
        ),
    ]
