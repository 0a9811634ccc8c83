"""Commands that go out and are carried out, whatever happens meanwhile."""

import json
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime

from resilience.server import PostgreSQL
from resilience.site import Client, Site


class Commands:
    """Commands that are issued, and a device that carries them out."""

    def __init__(
        self, site: Site, *, device: int = 7, pause: float = 0.1, patience: float = 65
    ) -> None:
        """The device has this number in the site's cast; a command is issued every `pause`
        seconds. A lease that was lost ends after 60 s: so long the device asks on in the end.
        """
        self.site = site
        self.device = device
        self.pause = pause
        self.patience = patience
        self.slowest = 0.0
        self.began = datetime.now(UTC)
        self.issued: set[str] = set()
        self.unsure = 0
        self.stopping = threading.Event()
        self.issuing = threading.Thread(target=self._issue, daemon=True)
        self.doing = threading.Thread(target=self._do, daemon=True)

    def __enter__(self) -> "Commands":
        self.issuing.start()
        self.doing.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()

    def finish(self) -> None:
        """Issue no more, and let the device catch up."""
        self.stopping.set()
        self.issuing.join(30)
        self.doing.join(120)

    def faults(self, server: PostgreSQL) -> list[str]:
        found = server.ask(
            "SELECT id::text, status, result->>'n', attempts FROM commands"
            " WHERE device_id = %s AND created_at >= %s",
            self.site.cast["ids"][self.device],
            self.began,
        )
        there = {row[0]: row for row in found}
        faults = []
        if lost := self.issued - set(there):
            faults.append(f"{len(lost)} commands that were answered 201 are gone")
        undone = [row for row in found if row[0] in self.issued and row[1] != "executed"]
        if undone:
            faults.append(f"{len(undone)} commands are not executed: {undone[:3]}")
        if len(found) > len(self.issued) + self.unsure:
            faults.append("there are commands that no client issued")
        return faults

    def _issue(self) -> None:
        client = Client(self.site.port, self.site.cast["owner"])
        path = f"/api/v1/devices/{self.site.cast['ids'][self.device]}/commands"
        while not self.stopping.wait(self.pause):
            try:
                answer = client.post(path, {"command_name": "ping", "payload": {}})
            except OSError:
                self.unsure += 1
                continue
            self.slowest = max(self.slowest, answer.seconds)
            if answer.status == 201:
                self.issued.add(id_of(answer.body))
            else:
                self.unsure += 1

    def _do(self) -> None:
        client = Client(self.site.port, self.site.cast["devices"][self.device])
        idle = 0.0
        while not (self.stopping.is_set() and idle > self.patience):
            try:
                answer = client.get("/api/v1/device/commands")
                self.slowest = max(self.slowest, answer.seconds)
                if answer.status != 200:
                    idle += 0.1
                    time.sleep(0.1)
                    continue
                idle = 0.0
                for one in ids_of(answer.body):
                    self._answer(client, one)
            except OSError:
                time.sleep(0.05)

    def _answer(self, client: Client, command: str) -> None:
        while True:
            with suppress(OSError):
                body = b'{"status": "executed", "result": {"n": 1}}'
                answer = client.ask("PATCH", f"/api/v1/device/commands/{command}", body)
                if answer.status not in (429, 503):
                    return
            time.sleep(0.05)


def id_of(body: bytes) -> str:
    return str(json.loads(body)["id"])


def ids_of(body: bytes) -> list[str]:
    return [str(one["id"]) for one in json.loads(body)["results"]]
