"""Back to an instant, by the commands of docs/operations/backup-and-restore.md."""

import os
import re
import signal
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

from resilience.server import USER, WHEEL, PostgreSQL
from resilience.site import Client, Senders, Site
from tests.e2e.sites import ROOT

DOCUMENT = ROOT / "docs" / "operations" / "backup-and-restore.md"
BLOCK = re.compile(r"^    # (?P<title>.+)\n(?P<lines>(?:    [^#].*\n)+)", re.MULTILINE)
EXAMPLE = re.compile(r"20\d\d-\d\d-\d\d( \d\d:\d\d:\d\d\+00)?")
"""A day, or an instant."""


def run() -> list[str]:
    """Readings before and after an instant; after it was gone back to, only those before."""
    with PostgreSQL(WHEEL) as server:
        guide = Guide(server)
        guide.do("the folders")
        guide.write("archive.conf")
        restart(server)
        with Site(server.url) as site:
            with Senders(site, count=4) as before:
                time.sleep(2)
                guide.do("once a week")
                time.sleep(2)
            (instant,) = server.ask("SELECT clock_timestamp()")[0]
            with Senders(site, count=4, first=4) as after:
                time.sleep(2)
            site.stop()
            server.stop(signal.SIGINT)
            started = time.monotonic()
            guide.do("the folder of the data")
            guide.write("recovery.conf", instant=instant)
            server.start()
            while server.ask("SELECT pg_is_in_recovery()")[0][0]:
                time.sleep(0.05)
            took = time.monotonic() - started
            site.start("site")
            site.wait()
            print(f"  back at {instant:%T} after {took:.1f} s", flush=True)
            return differences(server, before, after) + shut_out(site)


class Guide:
    """The document's blocks, with the folders of this server in place of those of Debian."""

    def __init__(self, server: PostgreSQL) -> None:
        self.server = server
        text = DOCUMENT.read_text(encoding="utf-8")
        self.blocks = {found["title"]: found["lines"] for found in BLOCK.finditer(text)}
        self.places = {
            "/srv/": f"{server.folder}/",
            "/var/lib/postgresql/15/": f"{server.folder}/",
            "--owner=postgres": f"--owner={USER}",
        }

    def block(self, title: str, day: datetime | None = None) -> str:
        """The lines below the one heading that begins so; `day` instead of the one in them."""
        (lines,) = [text for known, text in self.blocks.items() if known.startswith(title)]
        for place, instead in self.places.items():
            lines = lines.replace(place, instead)
        day = (day or datetime.now(UTC)).astimezone(UTC)
        return EXAMPLE.sub(lambda it: f"{day:%F %T.%f+00}" if it[1] else f"{day:%F}", lines)

    def do(self, title: str) -> None:
        """Run the commands as the users that the document names."""
        for command in self.block(title).splitlines():
            asked = command.strip()
            words = ["bash", "-c", re.sub(r"^sudo (-u postgres )?", "", asked)]
            subprocess.run(
                self.server.as_user(*words) if asked.startswith("sudo -u") else words,
                cwd="/",
                env=os.environ | self._environment(),
                check=True,
            )

    def write(self, name: str, instant: datetime | None = None) -> None:
        """The file of PostgreSQL's settings."""
        lines = self.block(f"in /etc/postgresql/15/main/conf.d/{name}", instant)
        folder = self.server.folder / "conf.d"
        if not folder.exists():
            # As Debian has it.
            folder.mkdir()
            with (self.server.data / "postgresql.conf").open("a") as conf:
                conf.write(f"include_dir = '{folder}'\n")
        (folder / name).write_text("\n".join(line.strip() for line in lines.splitlines()) + "\n")

    def _environment(self) -> dict[str, str]:
        path = f"{self.server.programs}{os.pathsep}{os.environ['PATH']}"
        return {
            "PATH": path,
            "PGHOST": str(Path(self.server.folder)),
            "PGPORT": str(self.server.port),
            "PGUSER": "postgres",
        }


def restart(server: PostgreSQL) -> None:
    server.stop(signal.SIGINT)
    server.start()


def differences(server: PostgreSQL, before: Senders, after: Senders) -> list[str]:
    """Readings that should be there and are not, or the other way round."""
    faults = before.odd + after.odd + before.missing(server.ask)
    sent = sum(map(len, before.acknowledged))
    there = server.ask("SELECT count(*) FROM telemetry")[0][0]
    lost = sum(map(len, after.acknowledged))
    print(f"  {sent} readings before the instant, {lost} after it, {there} are there", flush=True)
    if not (sent and lost):
        faults.append("nothing was sent")
    return faults if there == sent else [*faults, f"{there} are there, not {sent}"]


def shut_out(site: Site) -> list[str]:
    """Who is no longer let in."""
    cast = site.cast
    login = {"username": "owner", "password": cast["password"]}
    answers = {
        "the password": Client(site.port).post("/api/v1/auth/login", login),
        "the owner's token": Client(site.port, cast["owner"]).get("/api/v1/devices"),
        "the owner's session": Client(site.port, cookie=cast["cookie"]).get("/"),
        "a device's token": Client(site.port, cast["devices"][0]).get("/api/v1/device"),
    }
    return [f"{who}: {a.status}" for who, a in answers.items() if a.status not in (200, 201)]
