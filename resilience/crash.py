"""kill -9, again and again, under load: what was acknowledged is there once, and jobs go on."""

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress

import psycopg

from resilience import jobs
from resilience.commands import Commands
from resilience.server import DEBIAN_15, WHEEL, PostgreSQL
from resilience.site import Senders, Site
from tests.mail import mail_server

KILLS = int(os.environ.get("KILLS", "50"))
RECOVERY = 5.0
"""Seconds from a kill to a reading that is stored after it."""


def run() -> list[str]:
    """KILLS random ones; SEED repeats a run."""
    seed = int(os.environ.get("SEED", random.randrange(10**6)))
    print(f"  SEED={seed} KILLS={KILLS}", flush=True)
    chance = random.Random(seed)
    programs = DEBIAN_15 if DEBIAN_15.exists() else WHEEL
    with (
        mail_server() as inbox,
        PostgreSQL(programs) as server,
        Site(server.url, others=["worker"], EMAIL_URL=f"smtp://127.0.0.1:{inbox.port}") as site,
    ):
        victims: dict[str, Callable[[], None]] = {
            "a process of the site": lambda: chance.choice(site.workers()).kill(),
            "a backend": lambda: kill_backend(server, chance),
            "the postmaster": lambda: kill_postmaster(server),
            "the worker": lambda: kill_worker(site),
            "the worker at work": lambda: kill_worker(site, server),
        }
        jobs.prepare(server, site)
        slowest: dict[str, float] = {}
        with (
            Senders(site, count=3) as singles,
            Senders(site, count=2, batch=400, first=3, pause=0.2) as batches,
            Commands(site) as commands,
        ):
            time.sleep(2)
            for _ in range(KILLS):
                name = chance.choice(list(victims))
                with suppress(IndexError, ProcessLookupError, psycopg.Error):
                    victims[name]()
                slowest[name] = max(slowest.get(name, 0.0), recovery(site, singles))
                time.sleep(chance.uniform(0, 0.5))
            time.sleep(2)
            commands.finish()
        for name, seconds in sorted(slowest.items()):
            print(f"  after {name}: at most {seconds:.2f} s", flush=True)
        faults = [f"after {n}: {s:.1f} s" for n, s in slowest.items() if s > RECOVERY]
        for senders in (singles, batches):
            faults += senders.odd + senders.missing(server.ask)
        faults += jobs.faults(server, site, inbox)
        faults += partial(server, batches) + commands.faults(server) + damaged(server)
        stored = server.ask("SELECT count(*) FROM telemetry")[0][0]
        print(f"  {stored} readings, {len(commands.issued)} commands", flush=True)
    return faults


def recovery(site: Site, senders: Senders) -> float:
    """Seconds until a reading is stored that was sent after now."""
    started = time.monotonic()
    before = sum(map(len, senders.acknowledged))
    # Those that were under way may have been answered already.
    while sum(map(len, senders.acknowledged)) < before + 2 * senders.count:
        if time.monotonic() - started > 60:
            break
        # granian gives up when one of its processes ends twice within some seconds.
        site.revive()
        time.sleep(0.01)
    return time.monotonic() - started


def kill_backend(server: PostgreSQL, chance: random.Random) -> None:
    pids = server.ask(
        "SELECT pid FROM pg_stat_activity"
        " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )
    os.kill(chance.choice(pids)[0], signal.SIGKILL)


def kill_postmaster(server: PostgreSQL) -> None:
    server.kill()
    server.start()


def kill_worker(site: Site, working: PostgreSQL | None = None) -> None:
    """Kill the worker and start it again; with a server, while a job is running there."""
    if working is not None:
        jobs.wait_for_work(working)
    site.processes["worker"].kill()
    site.processes["worker"].wait()
    site.start("worker")


def partial(server: PostgreSQL, batches: Senders) -> list[str]:
    """A batch is stored whole or not at all."""
    faults = []
    for which in range(batches.count):
        found = server.ask(
            "SELECT count(*) FROM telemetry WHERE device_id = %s AND telemetry_type = 'fire'"
            " GROUP BY (payload->>'n')::bigint / %s HAVING count(*) <> %s",
            batches.site.cast["ids"][batches.first + which],
            batches.batch,
            batches.batch,
        )
        if found:
            faults.append(f"device {which}: {len(found)} batches are stored in part")
    return faults


def damaged(server: PostgreSQL) -> list[str]:
    """Indexes that do not fit their tables, where the extension that looks is there."""
    try:
        server.ask("SELECT 1 FROM pg_available_extensions WHERE name = 'amcheck'")[0]
    except IndexError:
        print("  (there is no amcheck here)")
        return []
    with server.connect() as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS amcheck")
        try:
            connection.execute(
                "SELECT bt_index_check(i.indexrelid, true) FROM pg_index AS i"
                " JOIN pg_class AS c ON c.oid = i.indexrelid JOIN pg_am AS a ON a.oid = c.relam"
                " JOIN pg_namespace AS n ON n.oid = c.relnamespace"
                " WHERE a.amname = 'btree' AND c.relkind = 'i' AND n.nspname = 'public'"
            )
        except psycopg.Error as error:
            return [f"an index is damaged: {error}"]
    return []
