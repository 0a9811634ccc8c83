"""A device that reports how this computer is doing; read it before you write firmware.

All it knows of the site is HTTP, all it has is its own token. A reading goes one way,

    measured  ->  spool file, on disk  ->  POST /api/v1/device/telemetry  ->  out of the spool

and leaves the spool only when the site has answered for it, so that neither a lost network nor
a power cut loses one. Keep this order in your firmware; the rest is detail. Between two samples it
waits for commands, where the site has a place to wait: GET /api/v1/device tells its `live_url`.

    TELEMETRY_URL=https://site.example DEVICE_TOKEN_FILE=token python this_computer.py
"""

import argparse
import json
import math
import os
import re
import signal
import sys
import time
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

BATCH = 500  # readings in one request: well below the 1 MiB that the site takes as a body
LONGEST_WAIT = 30.0  # seconds that the site lets a device wait for a command
SHORTEST_WAIT = 1.0  # seconds; so soon the next sample brings word of commands anyway
LIVE_RETRY = 60.0  # seconds until a place to wait is looked for again, when there was none
TIMEOUT = 3.0  # seconds; a site that hangs must not stop the measuring
SPOOL_LIMIT = 100_000  # readings, some 20 MB: about a day of silence at the usual interval
NOTHING_TO_DO = os.EX_CONFIG  # exit status 78: it is of no use to start this again
UNKNOWN = math.nan  # what this computer cannot measure; left out, as JSON has no NaN


class Away(Exception):
    """(why, seconds to stay away): the site takes nothing now; all is kept and tried again."""


class TokenRefused(Exception):
    """The site does not know this token. Trying again would change nothing."""


def say(message: str) -> None:
    print(message, flush=True)


def utc_now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def checked_interval(seconds: Any) -> float:
    # type(), because True is an int to isinstance(). NaN fails the comparison.
    if type(seconds) not in (int, float) or not 1 <= seconds <= 3600:
        raise ValueError("seconds must be a number from 1 to 3600")
    return float(seconds)


def private(path: str, flags: int) -> int:
    """Opens a file that only its owner may read."""
    return os.open(path, flags, 0o600)


class Spool:
    """The readings that the site does not have yet, oldest first: a file with one JSON a line.

    The file is for the next start, after a crash or a power cut. The program itself works with
    the same lines in memory, so that a full disk does not silence it.
    """

    def __init__(self, path: Path, limit: int = SPOOL_LIMIT) -> None:
        self.path, self.limit = path, limit
        lines = path.read_bytes().splitlines() if path.exists() else []
        self.lines = [line for line in lines if self.is_whole(line)]

    @staticmethod
    def is_whole(line: bytes) -> bool:
        """Not when a power cut tore it: then there is nothing in it that could be sent."""
        try:
            return isinstance(json.loads(line), dict)
        except ValueError:
            return False

    def append(self, readings: list[dict[str, Any]]) -> None:
        lines = [json.dumps(reading, separators=(",", ":")).encode() for reading in readings]
        self.lines += lines
        # The line break in front keeps a torn line from swallowing the one that follows it.
        self.write("ab", self.path, [b"", *lines])
        if len(self.lines) > self.limit:
            # A tenth at a time, or a full spool would be rewritten for every sample.
            lost = len(self.lines) - self.limit * 9 // 10
            self.remove(lost)
            say(f"the spool is full: its oldest {lost} readings are lost")

    def remove(self, count: int) -> None:
        del self.lines[:count]
        # Replaced in one step: after a crash there is the old file or the new one, no third.
        new = self.path.with_name(f"{self.path.name}.new")
        if self.write("wb", new, self.lines):
            new.replace(self.path)

    def write(self, mode: str, path: Path, lines: list[bytes]) -> bool:
        """True when the lines are on the disk, and not merely on their way there."""
        try:
            with open(path, mode, opener=private) as file:
                file.write(b"\n".join([*lines, b""]))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            say(f"the spool cannot be written: {error}")
            return False
        return True


class Device:
    def __init__(self, url: str, token: str, spool: Spool, interval: float = 5.0) -> None:
        self.site = urlsplit(url)
        self.token, self.spool, self.interval = token, spool, interval
        self.meter = Meter()
        self.away, self.retry_at = False, 0.0
        self.sent = 0  # readings taken by the site since it was last away
        self.live_url, self.live_at = "", 0.0  # where to wait, and when to look for it again

    def run(self) -> None:
        while True:
            started = time.monotonic()
            self.sample()
            self.talk(deadline=started + self.interval)
            # Computed again, because a command may just have changed the interval.
            while (left := started + self.interval - time.monotonic()) > 0:
                if not self.listen(left):
                    time.sleep(max(0.0, started + self.interval - time.monotonic()))

    def sample(self) -> int:
        now = utc_now()  # one instant for all that was measured together
        readings = [
            {"telemetry_type": name, "payload": payload, "recorded_at": now}
            for name, payload in self.meter.measure().items()
        ]
        self.spool.append(readings)
        return len(readings)

    def talk(self, deadline: float = math.inf) -> None:
        """Sends what is in the spool and does what the site asks, unless the site is away."""
        if time.monotonic() < self.retry_at:
            return
        try:
            pending = self.send(deadline)
            if self.away:
                say(f"the site is back: {self.sent} readings sent")
            self.away = False
            if pending:
                self.obey()
                self.send(deadline)  # what report_now has measured
        except Away as away:
            why, seconds = away.args
            if not self.away:
                self.sent = 0
                say(f"the site is away ({why}): readings are kept in {self.spool.path}")
            self.away, self.retry_at = True, time.monotonic() + seconds

    def listen(self, seconds: float) -> bool:
        """Waits so long for commands and does them. False when there is no waiting just now."""
        if seconds < SHORTEST_WAIT or self.away or time.monotonic() < self.live_at:
            return False
        wait = min(seconds - 0.2, LONGEST_WAIT)  # the answer has to come before the next sample
        until = time.monotonic() + wait - 0.2
        try:
            if not self.live_url:
                _, known = self.call("GET", "", expect={200})
                self.live_url = str(known.get("live_url") or "")
            if self.live_url and self.obey(wait):
                self.send(until)  # what report_now has measured
                return True
            if self.live_url and time.monotonic() >= until:
                return True
        except Away:
            pass  # if the site itself is away, the next sample finds that out
        # It was not there, or it did not wait. Both have to do without for a while.
        self.live_url, self.live_at = "", time.monotonic() + LIVE_RETRY
        return False

    def send(self, deadline: float) -> int:
        """Sends the spool, or as much of it as time allows. Returns how many commands wait."""
        pending = sent = 0
        try:
            while batch := self.spool.lines[sent : sent + BATCH]:
                pending = self.deliver(batch)
                sent += len(batch)
                if time.monotonic() >= deadline:
                    break
        finally:
            # A crash before this line only means that the same bytes are sent again. The site
            # knows a reading by its content: it counts a duplicate, and no harm is done.
            if sent:
                self.spool.remove(sent)
        return pending

    def deliver(self, batch: list[bytes]) -> int:
        body = b'{"readings":[' + b",".join(batch) + b"]}"
        status, answer = self.call("POST", "/telemetry", body, expect={201, 422})
        # What is refused once is refused always: kept, it would block all that comes after it.
        # 422 says so of the whole batch, 201 of single readings.
        faults = answer.get("errors" if status == 422 else "rejected", [])
        refused = len(batch) if status == 422 else len({fault["index"] for fault in faults})
        if refused:
            say(f"the site refused {refused} of {len(batch)} readings for good: {faults[:3]}")
        self.sent += len(batch) - refused
        return int(answer.get("pending_commands", 0))

    def obey(self, wait: float = 0) -> int:
        """Does what waits to be done, or comes within so many seconds. Returns how much it was."""
        path, site = (f"/commands?wait={wait:.1f}", self.live_url) if wait else ("/commands", "")
        _, answer = self.call("GET", path, site=site, wait=wait, expect={200, 204})
        commands = answer.get("results", [])
        for command in commands:
            name = command["command_name"]
            try:
                result = self.execute(name, command["payload"])
                outcome = {"status": "executed", "executed_at": utc_now(), "result": result}
            except ValueError as error:
                outcome = {
                    "status": "failed",
                    "reason": "rejected",
                    "result": {"error": str(error)},
                }
            say(f"command {name}: {outcome['status']} {outcome['result']}")
            # If this does not arrive there is nothing to remember: the site hands the command
            # out again when its lease of a minute ends, and none of these does harm when done
            # twice. If a command must not run twice, store the ids of the commands that ran.
            path, body = f"/commands/{command['id']}", json.dumps(outcome).encode()
            status, answer = self.call("PATCH", path, body, expect={200, 404, 409, 422})
            if status != 200:  # cancelled or expired meanwhile; the next may well be wanted
                say(f"command {name}: result not taken, {answer.get('detail', status)}")
        return len(commands)

    def execute(self, name: str, payload: Any) -> dict[str, Any]:
        if name == "ping":
            return {"pong": True, "uptime_s": round(time.time() - psutil.boot_time())}
        if name == "set_interval":
            seconds = payload.get("seconds") if isinstance(payload, dict) else None
            self.interval = checked_interval(seconds)
            return {"seconds": seconds}
        if name == "report_now":
            return {"readings": self.sample()}
        raise ValueError(
            f"unknown command {name}; this device knows ping, set_interval, report_now"
        )

    def call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        expect: set[int],
        site: str = "",
        wait: float = 0,
    ) -> tuple[int, dict[str, Any]]:
        """One request. An answer that is not expected, a captive portal's 200 say, is Away."""
        # http.client follows no redirect, and that is wanted: the token would go along.
        to = urlsplit(site) if site else self.site
        connect = HTTPSConnection if to.scheme == "https" else HTTPConnection
        timeout = wait + 0.2 if wait else min(TIMEOUT, self.interval)
        connection = connect(to.hostname or "", to.port, timeout=timeout)
        url = f"{to.path.rstrip('/')}/api/v1/device{path}"
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        try:
            connection.request(method, url, body, headers)
            response = connection.getresponse()
            text = response.read()
        except (OSError, HTTPException) as error:
            raise Away(str(error) or type(error).__name__, 0) from error
        finally:
            connection.close()
        if response.status == 401:
            raise TokenRefused
        if response.status not in expect:
            later = response.headers.get("Retry-After", "")
            seconds = min(int(later), 3600) if later.isdecimal() else 0
            raise Away(f"HTTP {response.status}", seconds)
        try:
            return response.status, dict(json.loads(text or b"{}"))
        except (TypeError, ValueError) as error:
            raise Away("that is not the API's answer", 0) from error


def ask(sensor: str, **options: bool) -> Any:
    """What psutil says, or None: not every computer has every sensor, and some sensors fail."""
    try:
        return getattr(psutil, sensor)(**options)
    except (AttributeError, NotImplementedError, OSError, RuntimeError):
        return None


class Meter:
    """One payload of numbers for each telemetry type. Nothing here knows of the site."""

    def __init__(self) -> None:
        self.counted_at, self.counts = time.monotonic(), self.count()
        self.rates: dict[str, float] = {}  # none yet: a rate takes two counts

    def count(self) -> dict[str, float]:
        disk, links = ask("disk_io_counters"), ask("net_io_counters", pernic=True) or {}
        network = [link for name, link in links.items() if name not in {"lo", "lo0"}]
        return {
            "read_mb_s": getattr(disk, "read_bytes", UNKNOWN) / 1e6,
            "write_mb_s": getattr(disk, "write_bytes", UNKNOWN) / 1e6,
            "sent_kb_s": sum(link.bytes_sent for link in network) / 1e3,
            "received_kb_s": sum(link.bytes_recv for link in network) / 1e3,
        }

    def update_rates(self) -> None:
        now, counts = time.monotonic(), self.count()
        seconds = now - self.counted_at
        # report_now comes right upon a sample. Over so short a time one would measure little but
        # this program, so the rates of a moment ago stand.
        if seconds >= 0.5:
            grown = {key: count - self.counts[key] for key, count in counts.items()}
            # A count that went backwards (an interface was taken away) has no rate this time.
            self.rates = {key: count / seconds for key, count in grown.items() if count >= 0}
            self.rates["percent"] = psutil.cpu_percent()  # since its last call
            self.counted_at, self.counts = now, counts

    def measure(self) -> dict[str, dict[str, float]]:
        self.update_rates()
        rate = {key: self.rates.get(key, UNKNOWN) for key in ("percent", *self.counts)}
        ram, disk = psutil.virtual_memory(), psutil.disk_usage(Path.cwd().anchor)
        payloads = {
            "cpu": {
                "percent": rate["percent"],
                "frequency_mhz": getattr(ask("cpu_freq"), "current", UNKNOWN),
            },
            "memory": {
                "used_percent": ram.percent,
                "used_mb": ram.used / 1e6,
                "available_mb": ram.available / 1e6,
                "swap_percent": getattr(ask("swap_memory"), "percent", UNKNOWN),
            },
            "disk": {
                "used_percent": disk.percent,
                "free_gb": disk.free / 1e9,
                "read_mb_s": rate["read_mb_s"],
                "write_mb_s": rate["write_mb_s"],
            },
            "network": {key: rate[key] for key in ("sent_kb_s", "received_kb_s")},
            "load": dict(zip(("one", "five", "fifteen"), psutil.getloadavg(), strict=True)),
            "temperature": self.temperatures(),
        }
        known = {
            name: {key: round(n, 3) for key, n in payload.items() if math.isfinite(n)}
            for name, payload in payloads.items()
        }
        return {name: payload for name, payload in known.items() if payload}

    def temperatures(self) -> dict[str, float]:
        celsius = {}
        for chip, sensors in (ask("sensors_temperatures") or {}).items():
            for number, sensor in enumerate(sensors):
                # A label is whatever the driver's author liked, and two of a chip may be the
                # same; the site's keys are [A-Za-z0-9_.-]{1,64}.
                key = re.sub(r"[^A-Za-z0-9-]+", "_", f"{chip} {number} {sensor.label}")
                celsius[key.strip("_")[:64]] = sensor.current
        return celsius


def main() -> None:
    # No ceremony at the end: whatever this interrupts, a power cut could have interrupted too.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))

    env = os.environ.get
    parser = argparse.ArgumentParser(description="Reports how this computer is doing.")
    parser.add_argument("--url", default=env("TELEMETRY_URL") or "http://localhost:8000")
    parser.add_argument("--interval", type=float, default=5.0, metavar="SECONDS")
    parser.add_argument("--spool", default=env("SPOOL_FILE") or "this_computer.spool")
    options = parser.parse_args()
    if not options.url.startswith(("http://", "https://")):
        parser.error("the URL must begin with http:// or https://")
    try:
        checked_interval(options.interval)
    except ValueError as error:
        parser.error(f"--interval: {error}")

    # The token is no option: a command line can be read by every user of the computer.
    token, file = env("DEVICE_TOKEN", ""), env("DEVICE_TOKEN_FILE", "")
    if not token and Path(file).is_file():
        token = Path(file).read_text()
    token = token.strip()
    if not re.fullmatch("[!-~]+", token):
        say("not started: no token in DEVICE_TOKEN or the file named by DEVICE_TOKEN_FILE")
        sys.exit(NOTHING_TO_DO)

    say(f"reporting this computer to {options.url} every {options.interval:g} s")
    try:
        Device(options.url, token, Spool(Path(options.spool)), options.interval).run()
    except TokenRefused:
        say("the site refused the token: was it revoked, or the device deleted? Ended")
        sys.exit(NOTHING_TO_DO)


if __name__ == "__main__":
    main()
