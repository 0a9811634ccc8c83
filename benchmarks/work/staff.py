"""The admin over much that is stored, and what staff remove with it."""

import time
from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import urlencode

from benchmarks import bodies, client, database, fleet
from benchmarks.bench import Bench, median, percentile
from benchmarks.client import Refused
from benchmarks.database import Connection
from benchmarks.progress import say
from benchmarks.reading_rows import Row, at_most
from benchmarks.servers import running

DEVICES, COMMANDS = 5_000, 200_000
TIMES = 20
WARMING_UP = 10
"""Requests until every thread of the site has connected to the database and read its templates."""
LEAVING = 100
"""Devices that are purged at once."""
PATIENCE = 600.0
"""Seconds that their purge may take."""
CSRF = "0" * 32

MORE_DEVICES = """
    INSERT INTO devices (id, user_id, name, device_type, status, metadata, expected_interval,
        last_seen_at, created_at, updated_at)
    SELECT gen_random_uuid(), users.id, 'idle ' || lpad(n::text, 5, '0'), 'type ' || n %% 40,
        'offline',
        jsonb_build_object('serial', 'S-' || n, 'place', jsonb_build_object('row', n %% 90)),
        60, now() - interval '1 day', now(), now()
    FROM users, generate_series((SELECT count(*) FROM devices) + 1, %s) AS n
    WHERE username = 'bench'
"""
MORE_COMMANDS = """
    INSERT INTO commands (id, device_id, command_name, payload, status, reason, attempts,
        created_at, expires_at, executed_at {columns})
    SELECT gen_random_uuid(), devices.id, 'set_' || n %% 9, '{{"value": 1}}',
        (ARRAY['executed', 'executed', 'failed'])[n %% 3 + 1],
        (ARRAY['', '', 'expired'])[n %% 3 + 1], 1, made, made + interval '1 hour', made {values}
    FROM (SELECT id, row_number() OVER (ORDER BY id) - 1 AS place FROM devices) AS devices
    JOIN generate_series((SELECT count(*) FROM commands) + 1, %s) AS n
        ON devices.place = n %% (SELECT count(*) FROM devices)
    CROSS JOIN LATERAL (SELECT now() - n * interval '2 minutes' AS made) AS times
"""
READINGS = """
    INSERT INTO telemetry
    SELECT gen_random_uuid(), device, 'environment', '{"temperature": 21.5}', at, at
    FROM unnest(%s::uuid[]) AS device,
        generate_series(%s::timestamptz, %s, interval '1 second') AS at
"""


def pages(bench: Bench) -> Iterator[Row]:
    """Every page of the admin, with 5,000 devices and 200,000 commands beside the readings."""
    stored, ours = bench.large_stored, fleet.ours(bench.large)
    fill(bench)
    with running(ours), client.Line(ours.port, cookies=signed_in(ours.port)) as line:
        for _ in range(WARMING_UP):
            line.get("/admin/")
        for name, path in addresses(str(stored.device)).items():
            work = f"admin: {name}, {stored.readings / 1e6:.0f} M readings"
            line.get(path)
            taken = [line.get(path)[0] * 1000 for _ in range(TIMES)]
            slow, note = percentile(taken, 95), f"p50 {median(taken):.0f} ms"
            say(f"{work}: p95 {slow:.0f} ms, {note}")
            yield Row(work, "ms, p95", slow, goal=at_most(150), note=note)


def purge(bench: Bench) -> Iterator[Row]:
    """Purge 100 devices with a million readings from the admin's list: the answer, how long it
    takes until nothing is left of them, and how fast the list of devices is meanwhile.
    """
    from devices.models import Device

    ours, count = fleet.ours(bench.large), bench.stored // 5
    fill(bench)
    with database.connect(bench.large) as connection:
        chosen = leaving(connection, count)
    work = f"purge of {LEAVING} devices with {count / 1e6:.0f} M readings"
    cookies = signed_in(ours.port)
    with running(ours), client.Line(ours.port, cookies=cookies) as line:
        form = [("_selected_action", pk) for pk in chosen]
        form += [("action", "purge"), ("confirmed", "yes"), ("csrfmiddlewaretoken", CSRF)]
        seconds = line.post("/admin/devices/device/", urlencode(form).encode())
        say(f"{work}: answered in {seconds * 1000:.0f} ms")
        yield Row(f"{work}: the answer", "s", seconds, goal=at_most(1))
        started, taken = time.monotonic(), []
        while Device.objects.filter(pk__in=chosen).exists():
            if time.monotonic() - started > PATIENCE:
                raise Refused("the purge does not end")
            taken.append(line.get("/admin/devices/device/")[0] * 1000)
            taken.append(line.get("/admin/devices/device/purging/")[0] * 1000)
            time.sleep(0.2)
        whole = time.monotonic() - started
    with database.connect(bench.large) as connection:
        if left := remains(connection, chosen):
            raise Refused(f"{left} rows are left")
    slow = percentile(taken, 95)
    say(f"{work}: gone after {whole:.0f} s, lists meanwhile p95 {slow:.0f} ms")
    yield Row(f"{work}: until nothing is left", "s", whole, note=f"{count / whole:,.0f} rows/s")
    yield Row(f"{work}: the lists meanwhile", "ms, p95", slow, goal=at_most(150))


def fill(bench: Bench) -> None:
    """What is missing of the devices and commands, once."""
    assert bench.large_stored
    with database.connect(bench.large) as connection:
        devices = connection.execute(MORE_DEVICES, [DEVICES]).rowcount
        columns = of_later_versions(connection)
        query = MORE_COMMANDS.format(
            columns="".join(f", {name}" for name in columns),
            values="".join(f", {value}" for value in columns.values()),
        )
        commands = connection.execute(query, [COMMANDS]).rowcount
        if devices or commands:
            say(f"made {devices:,} devices and {commands:,} commands")
            connection.execute("VACUUM ANALYZE devices, commands")


def of_later_versions(connection: Connection) -> dict[str, str]:
    """Columns of commands that have to be given, and what an ended command has in them."""
    values = {"finished_at": "made", "late": "false", "idempotency_key": "''"}
    found = connection.execute(
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'commands'"
    ).fetchall()
    return {name: values[name] for (name,) in found if name in values}


def signed_in(port: int) -> dict[str, str]:
    """The cookies of a superuser's browser."""
    from django.conf import settings
    from django.test import Client

    from accounts.models import User

    user = User.objects.filter(username="bench-staff").first()
    if user is None:
        user = User.objects.create_superuser("bench-staff", "staff@example.org")
    browser = Client()
    browser.force_login(user)
    session = browser.cookies[settings.SESSION_COOKIE_NAME].value
    return {f"p{port}-session": session, f"p{port}-csrf": CSRF}


def addresses(device: str) -> dict[str, str]:
    """The pages of the admin, by name."""
    from accounts.models import User
    from commands.models import Command

    command = Command.objects.order_by("created_at").first()
    assert command
    readings = f"/admin/telemetry/telemetry/?device={device}"
    user = User.objects.get(username="bench")
    return {
        "index": "/admin/",
        "devices": "/admin/devices/device/",
        "devices, the last page": f"/admin/devices/device/?p={DEVICES // 50}",
        "devices by owner and type": f"/admin/devices/device/?type=type+7&user__exact={user.pk}",
        "devices by metadata": "/admin/devices/device/?q=S-4321",
        "devices by name": "/admin/devices/device/?q=idle+0432",
        "a device": f"/admin/devices/device/{device}/change/",
        "being purged": "/admin/devices/device/purging/",
        "readings of a device": readings,
        "readings of a device by type": f"{readings}&type=environment",
        "commands": "/admin/commands/command/",
        "commands that wait": "/admin/commands/command/?status__exact=pending",
        "commands by name": "/admin/commands/command/?q=set_7",
        "commands, a search without results": "/admin/commands/command/?q=nothing",
        "a command": f"/admin/commands/command/{command.pk}/change/",
        "catalogue": "/admin/commands/commandtype/",
        "users": "/admin/accounts/user/",
        "a user": f"/admin/accounts/user/{user.pk}/change/",
        "tokens": "/admin/accounts/token/",
        "audit trail": "/admin/accounts/auditevent/",
        "audit trail, searched": "/admin/accounts/auditevent/?q=nothing",
        "jobs": "/admin/procrastinate/procrastinatejob/",
    }


def leaving(connection: Connection, count: int) -> list[str]:
    """Devices with so many readings together, to be purged."""
    from accounts.models import User
    from devices import services as device_services

    user = User.objects.get(username="bench")
    chosen = [
        str(device_services.create_device(user, name=f"leaving {number:03}")[0].pk)
        for number in range(LEAVING)
    ]
    start = bodies.now()
    end = start + timedelta(seconds=count // LEAVING - 1)
    connection.execute(READINGS, [chosen, start, end])
    return chosen


def remains(connection: Connection, devices: list[str]) -> int:
    """Rows of these devices, wherever they may be."""
    tables = ["telemetry", "telemetry_hours", "telemetry_days", "telemetry_keys", "commands"]
    total = 0
    for table in [*tables, "device_tokens", "telemetry_purges"]:
        query = f"SELECT count(*) FROM {table} WHERE device_id = ANY (%s::uuid[])"  # noqa: S608
        found = connection.execute(query, [devices]).fetchone()
        total += found[0] if found else 0
    return total
