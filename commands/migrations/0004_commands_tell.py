"""A trigger sends an event for each change of a command, in the transaction of the change.

A new command always sends one, because its device may be waiting for it. Other changes send one if
a user watches the device. Channel and text are those of devices/events.py.
"""

from django.db import migrations

TELL = """
    CREATE FUNCTION commands_tell() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'INSERT' OR EXISTS (
            SELECT FROM device_watches WHERE device_id = NEW.device_id AND until > now()
        ) THEN
            PERFORM pg_notify('device_events', 'command ' || NEW.device_id || ' ' || NEW.id);
        END IF;
        RETURN NULL;
    END
    $$;
    CREATE TRIGGER commands_tell AFTER INSERT OR UPDATE ON commands
        FOR EACH ROW EXECUTE FUNCTION commands_tell();
"""
SILENT = """
    DROP TRIGGER commands_tell ON commands;
    DROP FUNCTION commands_tell();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("commands", "0003_looked_at_by_staff"),
        ("devices", "0004_device_watches"),
    ]

    operations = [migrations.RunSQL(TELL, SILENT)]
