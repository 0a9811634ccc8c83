from django.db import migrations, models
from django.db.models.functions import Lower

NAME = "users_email_confirmed_once"


class Migration(migrations.Migration):
    """Create a unique index of verified e-mail addresses without blocking reads and writes."""

    atomic = False

    dependencies = [
        ("accounts", "0013_users_by_email"),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL("SET lock_timeout = 0", "SET lock_timeout = 0"),
                # An interrupted attempt leaves an invalid index.
                migrations.RunSQL(
                    f"DROP INDEX CONCURRENTLY IF EXISTS {NAME}", migrations.RunSQL.noop
                ),
                migrations.RunSQL(
                    f"CREATE UNIQUE INDEX CONCURRENTLY {NAME} ON users (lower(email))"
                    " WHERE email_verified_at IS NOT NULL",
                    f"DROP INDEX CONCURRENTLY IF EXISTS {NAME}",
                ),
            ],
            state_operations=[
                migrations.AddConstraint(
                    model_name="user",
                    constraint=models.UniqueConstraint(
                        Lower("email"),
                        condition=models.Q(("email_verified_at__isnull", False)),
                        name=NAME,
                        violation_error_message="This address is taken.",
                    ),
                ),
            ],
        ),
    ]
