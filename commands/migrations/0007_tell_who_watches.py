"""The event of a command contains the user who watches its device. `device_watches` is dropped.

Without such a user the text is the old one, so that an old live process still wakes the device.
"""

from django.db import migrations

TELL = """
    CREATE OR REPLACE FUNCTION commands_tell() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        watcher uuid := (SELECT user_id FROM watched_devices WHERE device_id = NEW.device_id);
    BEGIN
        IF TG_OP = 'INSERT' OR watcher IS NOT NULL THEN
            PERFORM pg_notify(
                'device_events', concat_ws(' ', 'command', NEW.device_id, NEW.id, watcher)
            );
        END IF;
        RETURN NULL;
    END
    $$;
    DROP TABLE device_watches;
"""
TELL_BY_DEVICE = """
    CREATE TABLE device_watches (
        device_id uuid PRIMARY KEY REFERENCES devices DEFERRABLE INITIALLY DEFERRED,
        until timestamp with time zone NOT NULL
    );
    CREATE OR REPLACE FUNCTION commands_tell() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'INSERT' OR EXISTS (
            SELECT FROM device_watches WHERE device_id = NEW.device_id AND until > now()
        ) THEN
            PERFORM pg_notify('device_events', 'command ' || NEW.device_id || ' ' || NEW.id);
        END IF;
        RETURN NULL;
    END
    $$;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("commands", "0006_unknown_shares"),
        ("devices", "0006_watches_of_users"),
    ]

    operations = [migrations.RunSQL(TELL, TELL_BY_DEVICE)]
