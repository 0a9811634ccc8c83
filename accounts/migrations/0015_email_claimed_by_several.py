from django.db import migrations


class Migration(migrations.Migration):
    """Allow several users with the same unverified e-mail address."""

    dependencies = [
        ("accounts", "0014_email_confirmed_once"),
    ]

    operations = [
        migrations.RunSQL(
            "ALTER TABLE tokens VALIDATE CONSTRAINT tokens_parent_id_fk",
            migrations.RunSQL.noop,
        ),
        migrations.RemoveConstraint(
            model_name="user",
            name="users_email_unique_in_any_case",
        ),
    ]
