from django.db import migrations


class Migration(migrations.Migration):
    """Collect no statistics on how commands are distributed over devices (decision 0044)."""

    dependencies = [
        ("commands", "0005_found_by_name"),
    ]

    operations = [
        migrations.RunSQL(
            "ALTER TABLE commands ALTER COLUMN device_id SET STATISTICS 0",
            "ALTER TABLE commands ALTER COLUMN device_id SET STATISTICS -1",
        ),
    ]
