from django.db import migrations


class Migration(migrations.Migration):
    """Disable statistics of owner and target, whose distribution is skewed (decision 0044)."""

    dependencies = [
        ("accounts", "0009_user_language"),
    ]

    operations = [
        migrations.RunSQL(
            f"ALTER TABLE audit_events ALTER COLUMN {column} SET STATISTICS 0",
            f"ALTER TABLE audit_events ALTER COLUMN {column} SET STATISTICS -1",
        )
        for column in ("owner_id", "target_id")
    ]
