"""Reject TRUNCATE of the audit trail, for which row triggers do not run."""

from django.db import migrations

FORWARD = """
CREATE FUNCTION audit_events_not_truncated() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('audit.truncating', true) IS DISTINCT FROM 'on' THEN
        RAISE EXCEPTION 'audit_events is append-only' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER audit_events_not_truncated BEFORE TRUNCATE ON audit_events
    FOR EACH STATEMENT EXECUTE FUNCTION audit_events_not_truncated();
"""
BACKWARD = """
DROP TRIGGER audit_events_not_truncated ON audit_events;
DROP FUNCTION audit_events_not_truncated();
"""


class Migration(migrations.Migration):
    dependencies = [("accounts", "0015_email_claimed_by_several")]

    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
