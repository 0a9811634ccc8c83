"""`manage.py run`: run everything on one machine. `make run` calls it."""

import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from django.utils import timezone

from telemetry.retention import partitions
from telemetry_site.operations import first_start
from telemetry_site.operations.supervisor import supervise

ANY_ADDRESS = {"0.0.0.0", "::"}  # noqa: S104 - compared with, not bound to


class Command(BaseCommand):
    help = "Prepare the database and run the site, the worker and the first device until Ctrl-C."

    def handle(self, **options: Any) -> None:
        refuse_taken_port("PORT", settings.PORT)
        if settings.LIVE_PORT:
            refuse_taken_port("LIVE_PORT", settings.LIVE_PORT)
        self.step("PostgreSQL", connection.ensure_connection)
        self.step("tables", lambda: call_command("migrate", verbosity=0))
        self.check(databases=["default"])
        self.step("months", lambda: partitions.ensure_ahead(timezone.now()))
        self.step("pages", lambda: call_command("collectstatic", interactive=False, verbosity=0))
        first_start.bootstrap(data_dir=settings.DATA_DIR, now=timezone.now())
        link = self.link()
        connection.close()
        settings.DRAINING_FILE.unlink(missing_ok=True)
        supervise(
            settings.BASE_DIR / "Procfile",
            environment(),
            when_started=lambda: self.announce(link),
            first=2,
            when_stopping=drain,
        )
        self.stdout.write("Stopped. Your data is kept in " + str(settings.DATA_DIR))

    def step(self, name: str, work: Any) -> None:
        """Print the name of the step, run it, and print how long it took."""
        self.stdout.write(f"Preparing {name} … ", ending="")
        self.stdout.flush()
        started = time.monotonic()
        work()
        self.stdout.write(f"{time.monotonic() - started:.1f} s")

    def link(self) -> str:
        """Return the URL to open: a one-time link if the administrator has no password."""
        user = first_start.admin_without_password()
        if user is None:
            return f"{settings.PUBLIC_URL}/"
        return first_start.sign_in_link(user, now=timezone.now())

    def announce(self, link: str) -> None:
        """Wait until the site and the live process accept connections, then print the URL."""
        for port in filter(None, (settings.PORT, settings.LIVE_PORT)):
            while not accepts_connections(reachable_host(), port):
                time.sleep(0.05)
        once = " (signs you in once, within an hour)" if "/sign-in/link/" in link else ""
        lines = [
            f"Telemetry runs at {settings.PUBLIC_URL}",
            f"Open  {link}{once}",
            f"Data  {settings.DATA_DIR}",
            "Stop  Ctrl-C",
        ]
        self.stdout.write("\n" + "\n".join(f"  {line}" for line in lines) + "\n\n")
        self.stdout.flush()


def environment() -> dict[str, str]:
    """Return the environment of the processes of the Procfile."""
    tools = str(Path(sys.executable).parent)
    return os.environ | {
        "PATH": f"{tools}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONUNBUFFERED": "1",
        "BIND": settings.BIND,
        "PORT": str(settings.PORT),
        "LIVE_PORT": str(settings.LIVE_PORT),
        "GRANIAN_WORKERS": str(settings.WEB_WORKERS),
        "DATA_DIR": str(settings.DATA_DIR),
        "TELEMETRY_URL": f"http://{reachable_host()}:{settings.PORT}",
        "DEVICE_TOKEN_FILE": str(first_start.device_token_file(settings.DATA_DIR)),
        "SPOOL_FILE": str(settings.DATA_DIR / "first_device.spool"),
    }


def drain() -> None:
    """Let /readyz fail, and wait DRAIN_SECONDS, so that load balancers stop sending requests."""
    settings.DRAINING_FILE.touch()
    time.sleep(settings.DRAIN_SECONDS)


def reachable_host() -> str:
    """Return the IP address at which this machine can connect to the site."""
    return "127.0.0.1" if settings.BIND in ANY_ADDRESS else str(settings.BIND)


def refuse_taken_port(name: str, port: int) -> None:
    """Raise CommandError if another program uses the port."""
    if accepts_connections(reachable_host(), port):
        raise CommandError(f"Port {port} is in use. Try another: {name}={port + 1} make run")


def accepts_connections(host: str, port: int) -> bool:
    """Return whether a connection is accepted."""
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True
