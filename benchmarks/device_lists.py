"""People who look: `python -m benchmarks.listed NAME` signs one in and prints the cookie as JSON.

The one called `list` gets devices: as many as LISTED, each with a day of hours and some readings.
"""

import json
import sys
from typing import Any

LISTED = 5_000


def main(username: str) -> str:
    """Sign in a user, and give the one called `list` their devices."""
    from django.conf import settings
    from django.contrib import auth

    from accounts.models import User
    from accounts.sessions.store import SessionStore

    user = User.objects.filter(username=username).first()
    if user is None:
        user = User.objects.create_user(username, f"{username}@example.org")
    if username == "list" and user.devices.count() < LISTED:
        _fill(user)
    session = SessionStore()
    session[auth.SESSION_KEY] = str(user.pk)
    session[auth.BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    session[auth.HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.create()
    return f"{settings.SESSION_COOKIE_NAME}={session.session_key}"


def _fill(user: Any) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        for statement in FILL:
            cursor.execute(statement, {"user": user.pk, "listed": LISTED})
        cursor.execute("VACUUM ANALYZE devices, telemetry, telemetry_hours")


FILL = [
    """
    INSERT INTO devices (id, user_id, name, device_type, status, metadata, expected_interval,
        last_seen_at, created_at, updated_at)
    SELECT gen_random_uuid(), %(user)s, 'sensor ' || n || (ARRAY[' north', ' south'])[1 + n %% 2],
        'climate', 'online', jsonb_build_object('room', n), 60 + 86400 * (n %% 3),
        now() - n * interval '1 minute', now(), now()
    FROM generate_series(1, %(listed)s) AS n
    """,
    """
    INSERT INTO telemetry_hours (device_id, telemetry_type, key, bucket, count, sum, min, max)
    SELECT id, 'climate', key, date_trunc('hour', now()) - hour * interval '1 hour', 60,
        60 * (20 + hour), 19 + hour, 21 + hour
    FROM devices, unnest(ARRAY['humidity', 'temperature']) AS key, generate_series(1, 24) AS hour
    WHERE user_id = %(user)s
    """,
    """
    INSERT INTO telemetry (id, device_id, telemetry_type, payload, recorded_at, created_at)
    SELECT gen_random_uuid(), id, 'climate',
        jsonb_build_object('temperature', 21.4, 'humidity', 40 + n),
        now() - n * interval '1 minute', now()
    FROM devices, generate_series(1, 20) AS n WHERE user_id = %(user)s
    """,
]


if __name__ == "__main__":
    import django

    django.setup()
    sys.stdout.write(json.dumps(main(sys.argv[1])))
