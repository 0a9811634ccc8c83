import django.core.validators
import django.db.models.deletion
from django.db import migrations, models

# The queue has no index and no key: the statement that stores readings writes it, and the worker
# reads all of it. Hours with readings from before this migration are queued here.
QUEUE = """
    CREATE TABLE telemetry_dirty (
        device_id uuid NOT NULL,
        hour timestamptz NOT NULL
    );
    COMMENT ON TABLE telemetry_dirty IS 'past hours that got readings, to be rolled up again';
    INSERT INTO telemetry_dirty
        SELECT DISTINCT device_id, date_trunc('hour', recorded_at, 'UTC') FROM telemetry;
    CREATE TABLE telemetry_rolled_until (
        hour timestamptz NOT NULL,
        one boolean PRIMARY KEY DEFAULT true CHECK (one)
    );
    COMMENT ON TABLE telemetry_rolled_until IS 'all hours before this one have been rolled up';
    INSERT INTO telemetry_rolled_until VALUES (date_trunc('hour', now(), 'UTC'));
"""
# Like REGISTER_KEYS_SQL in telemetry/rollups/sql.py, for all devices: without keys nothing would be
# rolled up.
REGISTER_STORED = r"""
    WITH RECURSIVE leaves AS (
        SELECT device_id, telemetry_type, recorded_at, of_payload.key, of_payload.value
        FROM telemetry, jsonb_each(payload) AS of_payload
        UNION ALL
        SELECT device_id, telemetry_type, recorded_at, leaves.key || '.' || inside.key, inside.value
        FROM leaves CROSS JOIN LATERAL (
            SELECT key, value FROM jsonb_each(
                CASE jsonb_typeof(leaves.value) WHEN 'object' THEN leaves.value END)
            UNION ALL
            SELECT (number - 1)::text, value FROM jsonb_array_elements(
                CASE jsonb_typeof(leaves.value) WHEN 'array' THEN leaves.value END
            ) WITH ORDINALITY AS element(value, number)
        ) AS inside
    ), found AS (
        SELECT device_id, telemetry_type, key,
            date_trunc('hour', min(recorded_at), 'UTC') AS since,
            row_number() OVER (PARTITION BY device_id ORDER BY telemetry_type, key) AS number
        FROM leaves
        WHERE jsonb_typeof(value) NOT IN ('object', 'array') AND key ~ '^[A-Za-z0-9_.-]{1,64}$'
        GROUP BY device_id, telemetry_type, key
    )
    INSERT INTO telemetry_keys (device_id, telemetry_type, key, since, label, unit)
    SELECT device_id, telemetry_type, key, since, '', '' FROM found WHERE number <= 1000
"""
NO_QUEUE = "DROP TABLE telemetry_dirty, telemetry_rolled_until"


class Migration(migrations.Migration):
    dependencies = [
        ("devices", "0001_initial"),
        ("telemetry", "0001_initial"),
    ]

    operations = [
        migrations.RunSQL(QUEUE, NO_QUEUE),
        migrations.CreateModel(
            name="DayRollup",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "device_id",
                        "telemetry_type",
                        "key",
                        "bucket",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("telemetry_type", models.CharField(max_length=64)),
                ("key", models.CharField(max_length=64)),
                ("bucket", models.DateTimeField()),
                ("count", models.PositiveIntegerField()),
                ("sum", models.FloatField()),
                ("min", models.FloatField()),
                ("max", models.FloatField()),
                (
                    "device",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="devices.device",
                    ),
                ),
            ],
            options={
                "db_table": "telemetry_days",
            },
        ),
        migrations.CreateModel(
            name="Delivery",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "device_id",
                        "idempotency_key",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("idempotency_key", models.CharField(max_length=255)),
                ("body_digest", models.BinaryField()),
                ("received_at", models.DateTimeField()),
                (
                    "device",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="devices.device",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "deliveries",
                "db_table": "telemetry_deliveries",
            },
        ),
        migrations.CreateModel(
            name="HourRollup",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "device_id",
                        "telemetry_type",
                        "key",
                        "bucket",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("telemetry_type", models.CharField(max_length=64)),
                ("key", models.CharField(max_length=64)),
                ("bucket", models.DateTimeField()),
                ("count", models.PositiveIntegerField()),
                ("sum", models.FloatField()),
                ("min", models.FloatField()),
                ("max", models.FloatField()),
                (
                    "device",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="devices.device",
                    ),
                ),
            ],
            options={
                "db_table": "telemetry_hours",
            },
        ),
        migrations.CreateModel(
            name="Key",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "device_id",
                        "telemetry_type",
                        "key",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("telemetry_type", models.CharField(max_length=64)),
                ("key", models.CharField(max_length=64)),
                ("since", models.DateTimeField()),
                ("last_hour", models.DateTimeField(null=True)),
                ("label", models.CharField(blank=True, max_length=64)),
                ("unit", models.CharField(blank=True, max_length=16)),
                (
                    "decimals",
                    models.PositiveSmallIntegerField(
                        blank=True,
                        null=True,
                        validators=[django.core.validators.MaxValueValidator(10)],
                    ),
                ),
                (
                    "device",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="keys",
                        to="devices.device",
                    ),
                ),
            ],
            options={
                "db_table": "telemetry_keys",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("decimals__range", (0, 10))),
                        name="telemetry_keys_decimals_in_range",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="RetentionRule",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "device_type",
                    models.CharField(
                        blank=True,
                        help_text="For all devices of this type.",
                        max_length=64,
                        verbose_name="device type",
                    ),
                ),
                (
                    "raw_days",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text="Days that readings are kept. Empty: forever, as with the other two.",
                        null=True,
                        verbose_name="readings",
                    ),
                ),
                (
                    "hour_days",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text="Days that the hours of charts are kept: as long as the readings, or longer.",
                        null=True,
                        verbose_name="hourly values",
                    ),
                ),
                (
                    "day_days",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text="Days that the days of charts are kept: as long as the hours, or longer.",
                        null=True,
                        verbose_name="daily values",
                    ),
                ),
                (
                    "device",
                    models.ForeignKey(
                        blank=True,
                        help_text="For this device alone. With neither a type nor a device: for all devices.",
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="devices.device",
                        verbose_name="device",
                    ),
                ),
            ],
            options={
                "verbose_name": "retention rule",
                "verbose_name_plural": "retention rules",
                "db_table": "retention_rules",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("device_type", "device"),
                        name="retention_rules_one_for_each",
                        nulls_distinct=False,
                        violation_error_message="There is a rule for these devices already.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("device", None), ("device_type", ""), _connector="OR"),
                        name="retention_rules_for_a_type_or_a_device",
                        violation_error_message="A rule is for a type or for a device, not for both.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("day_days__gte", 1), ("hour_days__gte", 1), ("raw_days__gte", 1)
                        ),
                        name="retention_rules_of_a_day_or_more",
                        violation_error_message="The shortest age is one day.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("hour_days", None),
                                models.Q(
                                    ("raw_days__isnull", False),
                                    ("raw_days__lte", models.F("hour_days")),
                                ),
                                _connector="OR",
                            ),
                            models.Q(
                                ("day_days", None),
                                models.Q(
                                    ("hour_days__isnull", False),
                                    ("hour_days__lte", models.F("day_days")),
                                ),
                                _connector="OR",
                            ),
                        ),
                        name="retention_rules_keep_rollups_longer",
                        violation_error_message="Hourly values are kept at least as long as readings, and daily values at least as long as hourly ones.",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Horizon",
            fields=[
                (
                    "device",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to="devices.device",
                    ),
                ),
                ("raw", models.DateTimeField(null=True)),
                ("hour", models.DateTimeField(null=True)),
                ("day", models.DateTimeField(null=True)),
            ],
            options={
                "db_table": "telemetry_horizons",
            },
        ),
        migrations.RunSQL(REGISTER_STORED, migrations.RunSQL.noop),
    ]
