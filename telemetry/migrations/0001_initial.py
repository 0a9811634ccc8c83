import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

# The ORM does not support this table: it is partitioned, its primary key starts with the device,
# and a trigger enforces the reference to devices at less cost than a foreign key
# (docs/decisions/0003).
TABLE = """
    CREATE TABLE telemetry (
        id uuid NOT NULL,
        device_id uuid NOT NULL,
        telemetry_type varchar(64) NOT NULL CHECK (telemetry_type <> ''),
        payload jsonb NOT NULL CHECK (jsonb_typeof(payload) = 'object'),
        recorded_at timestamptz NOT NULL,
        created_at timestamptz NOT NULL,
        PRIMARY KEY (device_id, recorded_at, id)
    ) PARTITION BY RANGE (recorded_at);

    CREATE FUNCTION telemetry_device_exists() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        named uuid[] := ARRAY(SELECT DISTINCT device_id FROM written);
        found integer;
    BEGIN
        -- The lock that a foreign key would take: the device cannot be deleted before the commit.
        PERFORM 1 FROM devices WHERE id = ANY (named) ORDER BY id FOR KEY SHARE;
        GET DIAGNOSTICS found = ROW_COUNT;
        IF found < cardinality(named) THEN
            RAISE foreign_key_violation USING
                MESSAGE = 'a reading names a device that does not exist',
                TABLE = 'telemetry', CONSTRAINT = 'telemetry_device_exists';
        END IF;
        RETURN NULL;
    END $$;
    CREATE TRIGGER device_exists_on_insert AFTER INSERT ON telemetry
        REFERENCING NEW TABLE AS written
        FOR EACH STATEMENT EXECUTE FUNCTION telemetry_device_exists();
    CREATE TRIGGER device_exists_on_update AFTER UPDATE ON telemetry
        REFERENCING NEW TABLE AS written
        FOR EACH STATEMENT EXECUTE FUNCTION telemetry_device_exists();

    CREATE FUNCTION devices_keep_their_readings() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF EXISTS (SELECT FROM telemetry WHERE device_id = OLD.id) THEN
            RAISE foreign_key_violation USING
                MESSAGE = 'the device still has readings',
                TABLE = 'devices', CONSTRAINT = 'devices_keep_their_readings';
        END IF;
        RETURN OLD;
    END $$;
    CREATE TRIGGER devices_keep_their_readings AFTER DELETE OR UPDATE OF id ON devices
        FOR EACH ROW EXECUTE FUNCTION devices_keep_their_readings();
"""
NO_TABLE = """
    DROP TRIGGER devices_keep_their_readings ON devices;
    DROP TABLE telemetry;
    DROP FUNCTION devices_keep_their_readings, telemetry_device_exists;
"""


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("devices", "0001_initial"),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(TABLE, NO_TABLE)],
            state_operations=[
                migrations.CreateModel(
                    name="Telemetry",
                    fields=[
                        ("id", models.UUIDField(editable=False, primary_key=True, serialize=False)),
                        ("telemetry_type", models.CharField(max_length=64)),
                        ("payload", models.JSONField()),
                        ("recorded_at", models.DateTimeField()),
                        ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                        (
                            "device",
                            models.ForeignKey(
                                db_constraint=False,
                                db_index=False,
                                on_delete=django.db.models.deletion.DO_NOTHING,
                                related_name="readings",
                                to="devices.device",
                            ),
                        ),
                    ],
                    options={
                        "verbose_name": "telemetry",
                        "verbose_name_plural": "telemetry",
                        "db_table": "telemetry",
                    },
                ),
            ],
        )
    ]
