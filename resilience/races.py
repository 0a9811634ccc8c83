"""What is taken away while it is in use: devices, tokens, months, the whole database."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from resilience.server import PostgreSQL
from resilience.site import Client, Site
from resilience.stream import Stream
from tests.e2e.sites import ROOT

ROUNDS = int(os.environ.get("ROUNDS", "5"))
PURGE = "from telemetry.retention import purge; print(sum(purge.purge_deleted().values()))"
RULE = "from telemetry.models import RetentionRule; RetentionRule.objects.create(raw_days=32)"
RULED_OUT = "from telemetry.models import RetentionRule; RetentionRule.objects.all().delete()"
NAMES_A_DEVICE = """
    SELECT table_name FROM information_schema.columns
    JOIN information_schema.tables USING (table_schema, table_name)
    WHERE table_schema = 'public' AND column_name = 'device_id' AND table_type = 'BASE TABLE'
"""
IN_PART = """
    SELECT count(*) FROM (
        SELECT FROM telemetry WHERE telemetry_type LIKE '%%batch'
        GROUP BY device_id, telemetry_type, payload->>'batch' HAVING count(*) <> %s
    ) AS batches
"""
BATCH = 100


class Place(NamedTuple):
    """Where it happens, and the owner of all devices."""

    site: Site
    server: PostgreSQL
    owner: Client

    def device(self) -> dict[str, Any]:
        """A new one: its id and token."""
        made: dict[str, Any] = self.asked("POST", "/api/v1/devices", {"name": "in a race"})
        return made

    def asked(self, method: str, path: str, body: Any = None) -> Any:
        raw = None if body is None else json.dumps(body).encode()
        answer = self.owner.ask(method, path, raw)
        assert answer.status < 300, f"{method} {path}: {answer.status} {answer.body!r}"
        return json.loads(answer.body or b"null")

    def stream(self, token: str, kind: str, **how: Any) -> Stream:
        return Stream(self.site.port, token, kind=kind, **how)


def run() -> list[str]:
    """Each race some times, on one site, beside a device that nothing happens to."""
    races: list[Callable[[Place], list[str]]] = [deleted, revoked, rotated, purged, a_month_dropped]
    faults: list[str] = []
    with (
        PostgreSQL() as server,
        Site(server.url, others=["worker"], WRITES_PER_USER="1000000/60") as site,
    ):
        place = Place(site, server, Client(site.port, site.cast["owner"]))
        with place.stream(site.cast["devices"][0], "bystander") as bystander:
            for race in races:
                started = time.monotonic()
                for number in range(ROUNDS):
                    faults += [f"{race.__name__}, {number}: {fault}" for fault in race(place)]
                took = time.monotonic() - started
                print(f"  {race.__name__}: {ROUNDS} times, {took:.0f} s", flush=True)
        print(f"  beside: {len(bystander.told)}, slowest {bystander.slowest:.2f} s", flush=True)
        faults += bystander.odd()
        faults += half_stored(server)
        if "Traceback" in (log := site.log.read_text()):
            faults.append(f"a traceback in the log: {log[log.index('Traceback') :][:3000]}")
        site.stop()
        faults += restored_twice(place)
    return faults


def deleted(place: Place) -> list[str]:
    """A device is deleted while it sends: what comes later is refused, and nothing is left."""
    device = place.device()
    with (
        place.stream(device["token"], "one") as one,
        place.stream(device["token"], "batch", batch=BATCH) as many,
    ):
        one.wait_for(30)
        place.asked("DELETE", f"/api/v1/devices/{device['id']}")
        gone = time.monotonic()
        one.wait_for(10)
        many.wait_for(2)
        purged_now = int(place.site.manage("shell", "--no-imports", "-c", PURGE))
    faults = one.odd(401, 404) + many.odd(401, 404)
    if late := (one.since(gone) | many.since(gone)) - {401, 503}:
        faults.append(f"after it was deleted: {late}")
    if not purged_now:
        # The worker may have been first; its minute begins at any time.
        print("  (the worker was first)", flush=True)
    if left := rows_of(place.server, device["id"]):
        faults.append(f"{left} readings are left")
    return faults


def revoked(place: Place) -> list[str]:
    """A token is revoked while it is in use: what comes later is refused."""
    device = place.device()
    path = f"/api/v1/devices/{device['id']}/tokens"
    token = place.asked("POST", path, {"label": "other"})
    with (
        place.stream(token["token"], "one") as one,
        place.stream(device["token"], "other_batch", batch=BATCH) as other,
    ):
        one.wait_for(30)
        place.asked("DELETE", f"{path}/{token['id']}")
        gone = time.monotonic()
        one.wait_for(10)
        other.wait_for(5)
    faults = one.odd(401) + other.odd()
    if late := one.since(gone) - {401, 503}:
        faults.append(f"after it was revoked: {late}")
    return faults


def rotated(place: Place) -> list[str]:
    """Tokens are rotated during batches: the one in use goes on until its successor is."""
    device = place.device()
    path = f"/api/v1/devices/{device['id']}/tokens/rotate"
    with place.stream(device["token"], "old_batch", batch=BATCH) as old:
        old.wait_for(5)
        for _ in range(3):
            new = place.asked("POST", path)
            old.wait_for(3)
        with place.stream(new["token"], "new_batch", batch=BATCH) as young:
            young.wait_for(5)
            old.wait_for(3)
    return old.odd() + young.odd()


def purged(place: Place) -> list[str]:
    """A device with many readings is purged while others send."""
    device = place.device()
    place.server.ask(
        "INSERT INTO telemetry SELECT gen_random_uuid(), %s, 'past', '{\"n\": 1}',"
        " now() - n * interval '10 ms', now() FROM generate_series(1, 50000) AS n RETURNING 1",
        device["id"],
    )
    place.asked("DELETE", f"/api/v1/devices/{device['id']}")
    tokens = place.site.cast["devices"]
    with (
        place.stream(tokens[1], "first_batch", batch=BATCH) as first,
        place.stream(tokens[2], "second_batch", batch=BATCH) as second,
    ):
        place.site.manage("shell", "--no-imports", "-c", PURGE)
    faults = first.odd() + second.odd()
    if left := rows_of(place.server, device["id"]):
        faults.append(f"{left} readings are left")
    return faults


def a_month_dropped(place: Place) -> list[str]:
    """A month goes by its age while readings of it and of today arrive."""
    old = datetime.now(UTC).replace(day=1, hour=1, minute=0, second=0, microsecond=0)
    old = (old - timedelta(days=80)).replace(day=2)
    table = f"telemetry_{old:%Y_%m}"
    with (
        place.stream(place.site.cast["devices"][3], "today_batch", batch=BATCH) as today,
        place.stream(place.site.cast["devices"][4], "past_batch", batch=BATCH, start=old) as past,
    ):
        past.wait_for(5)
        place.site.manage("shell", "--no-imports", "-c", RULE)
        try:
            for _ in range(10):
                place.site.manage("apply_retention")
                if not place.server.ask("SELECT to_regclass(%s)::text", table)[0][0]:
                    break
                # Rolled up first, every ten seconds, and the rules are held for a minute.
                time.sleep(7)
            else:
                return [f"{table} is still there"]
            today.wait_for(5)
        finally:
            place.site.manage("shell", "--no-imports", "-c", RULED_OUT)
    return today.odd() + past.odd(422)


def restored_twice(place: Place) -> list[str]:
    """Two restore at once: what is there then is the backup, whole, or what was there before."""
    file = place.site.folder.name + "/backup.tar"
    place.site.manage("backup", file)
    whole = counted(place.server)
    place.server.ask("DELETE FROM telemetry WHERE telemetry_type LIKE '%%batch' RETURNING 1")
    less = counted(place.server)
    command = [sys.executable, "manage.py", "restore", "--replace", file]
    both = [
        subprocess.Popen(
            command,
            cwd=ROOT,
            env=place.site.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=120)[0] for process in both]
    ends = [process.returncode for process in both]
    print(f"  restored_twice: ended with {ends}", flush=True)
    if any("Traceback" in one for one in said):
        return [f"a traceback: {said}"]
    expected, there = whole if 0 in ends else less, counted(place.server)
    wrong = {name for name in expected | there if expected.get(name) != there.get(name)}
    return [f"other rows than there should be: {wrong}"] if wrong else []


def rows_of(server: PostgreSQL, device_id: str) -> int:
    return int(server.ask("SELECT count(*) FROM telemetry WHERE device_id = %s", device_id)[0][0])


def half_stored(server: PostgreSQL) -> list[str]:
    """Rows without their device, and batches that are there in part."""
    faults = []
    for (table,) in server.ask(NAMES_A_DEVICE):
        found = server.ask(
            f"SELECT count(*) FROM {table} AS row WHERE device_id IS NOT NULL"
            " AND NOT EXISTS (SELECT FROM devices WHERE id = row.device_id)"
        )
        if found[0][0]:
            faults.append(f"{found[0][0]} rows of {table} have no device")
    if parts := server.ask(IN_PART, BATCH)[0][0]:
        faults.append(f"{parts} batches are stored in part")
    return faults


def counted(server: PostgreSQL) -> dict[str, int]:
    """Rows by table."""
    names = server.ask(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    )
    return {name: server.ask(f'SELECT count(*) FROM "{name}"')[0][0] for (name,) in names}
