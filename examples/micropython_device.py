"""A device on an ESP32 with MicroPython (1.22 or newer): main.py, with device.json beside it:

    {"url": "https://site.example", "token": "tsd_…", "wifi": ["name", "password"], "interval": 60}

and for https also ca.der, the certificate (DER) of the authority that vouches for the site. As in
this_computer.py a reading leaves the device only when the site has answered for it. Here it is sent
at once and written to the flash only where that fails: flash wears out. All it uses of the network
is a socket, and it never holds more than one reading, batch or command in memory.

To make it yours, change `measure` and `execute`.
"""

import gc
import json
import os
import socket
import time

import machine
import network
import ntptime

SPOOL = "spool"  # its two files: what could not be sent yet, older and newer
SPOOL_LIMIT = 32 * 1024  # bytes of each; when the newer is full, the older is lost
BATCH = 20  # readings in one request
LONGEST_ANSWER = 20 * 1024  # bytes; a command may be 16 KiB
TIMEOUT = 10  # seconds; what hangs must not stop the measuring
LONGEST_WAIT = 30  # seconds that the site lets a device wait for a command
RETRY = 60  # seconds until a place to wait is looked for again, when there was none
BORN = 2025  # a clock that shows an earlier year has not been set
FORGET = (400, 413, 415, 422)  # what is refused so is refused always


class Away(Exception):
    """The site takes nothing now; all is kept and tried again."""


class TokenRefused(Exception):
    """The site does not know this token."""


def ticks():
    """Milliseconds from an unknown beginning; only differences mean something."""
    return time.ticks_ms() if hasattr(time, "ticks_ms") else int(time.monotonic() * 1000)


def passed(since):
    """Seconds since `ticks` was that, however often it has overflown."""
    return ((ticks() - since) & 0x3FFFFFFF) / 1000


def utc_now():
    # Not time(): its zero is 2000 on an ESP32 and 1970 elsewhere.
    return "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z".format(*time.gmtime()[:6])


class Spool:
    """Readings that wait in the flash: two files with one JSON a line, the older one sent first."""

    def __init__(self, name=SPOOL, limit=SPOOL_LIMIT):
        self.old, self.new, self.limit = name + ".old", name + ".new", limit
        self.sent = 0  # bytes of the older file that the site has; after a reset they go again

    def size(self, path):
        try:
            return os.stat(path)[6]
        except OSError:
            return 0

    def append(self, line):
        if self.size(self.new) + len(line) > self.limit:
            self.turn()
        with open(self.new, "ab") as file:
            # The line break in front keeps a line that a power cut tore from swallowing this one.
            file.write(b"\n" + line)

    def turn(self):
        """The newer file becomes the older, and what was in that is lost."""
        if self.size(self.old):
            os.remove(self.old)
        os.rename(self.new, self.old)
        self.sent = 0

    def batch(self):
        """The next few lines to send, and where the file goes on after them."""
        if not self.size(self.old):
            if not self.size(self.new):
                return [], 0
            self.turn()
        lines = []
        with open(self.old, "rb") as file:
            file.seek(self.sent)
            while len(lines) < BATCH:
                line = file.readline()
                if not line:
                    break
                if is_whole(line):
                    lines.append(line.strip())
            return lines, file.tell()

    def done(self, end):
        """The site has all up to there."""
        self.sent = end
        if end >= self.size(self.old):
            os.remove(self.old)
            self.sent = 0


def is_whole(line):
    """Not when a power cut tore it: then there is nothing in it that could be sent."""
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


class Site:
    """The site's API, by plain HTTP over a socket."""

    def __init__(self, url, token):
        self.url, self.token = url.rstrip("/"), token

    def call(self, method, path, body=b"", url="", wait=0):
        """The status and the JSON of the answer. Raises Away, TokenRefused."""
        gc.collect()
        try:
            status, answer = self.exchange(method, path, body, url or self.url, wait + TIMEOUT)
            answer = json.loads(answer) if answer else {}
        except (OSError, ValueError, IndexError, EOFError) as error:
            raise Away(repr(error)) from error
        if status in (401, 403):
            raise TokenRefused()
        if not isinstance(answer, dict) or status >= 500 or status == 429 or status < 200:
            raise Away(f"HTTP {status}")
        return status, answer

    def exchange(self, method, path, body, url, timeout):
        scheme, _, rest = url.partition("://")
        host, _, prefix = rest.partition("/")
        name, _, port = host.partition(":")
        port = int(port or (443 if scheme == "https" else 80))
        line = socket.socket()
        try:
            line.settimeout(timeout)
            line.connect(socket.getaddrinfo(name, port, 0, socket.SOCK_STREAM)[0][-1])
            if scheme == "https":
                line = secured(line, name)
            folder = f"/{prefix}" if prefix else ""
            head = f"{method} {folder}/api/v1/device{path} HTTP/1.0\r\nHost: {host}\r\n"
            head += f"Authorization: Bearer {self.token}\r\nContent-Type: application/json\r\n"
            head += f"Content-Length: {len(body)}\r\n\r\n"
            send = line.write if hasattr(line, "write") else line.sendall
            send(head.encode() + body)
            stream = line.makefile("rb") if hasattr(line, "makefile") else line
            status = int(stream.readline().split()[1])
            length = LONGEST_ANSWER  # or less, until the line ends
            while True:
                header = stream.readline().strip().lower()
                if not header:
                    break
                if header.startswith(b"content-length:"):
                    length = int(header[15:])
            if length > LONGEST_ANSWER:
                raise ValueError(f"an answer of {length} bytes")
            return status, b"" if status == 204 else stream.read(length)
        finally:
            line.close()


def secured(line, name):
    """Return a TLS connection that verifies the site; the clock must be set."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with open("ca.der", "rb") as file:
        context.load_verify_locations(cadata=file.read())
    context.verify_mode = ssl.CERT_REQUIRED
    return context.wrap_socket(line, server_hostname=name)


class Device:
    def __init__(self, config):
        self.site = Site(config["url"], config["token"])
        self.wifi = config.get("wifi")
        self.interval = checked_interval(config.get("interval", 60))
        self.spool = Spool()
        self.wlan = network.WLAN(network.STA_IF)
        self.live_url, self.asked_at = "", None
        self.started = time.time()

    def run(self):
        watchdog = machine.WDT(timeout=300000)
        self.prepare()
        while True:
            began = ticks()
            watchdog.feed()
            self.sample()
            while passed(began) < self.interval:
                watchdog.feed()
                self.rest(self.interval - passed(began))

    def prepare(self):
        """The network, then the clock: a reading from 1970 is refused for good."""
        while not self.connect() or not self.set_clock():
            time.sleep(5)
        self.started = time.time()

    def connect(self):
        """Whether there is a network; without one it is looked for, for as long as it may take."""
        if self.wlan.isconnected():
            return True
        self.wlan.active(True)
        try:
            self.wlan.connect(*self.wifi)
        except OSError as error:
            print("wifi:", error)
        began = ticks()
        while not self.wlan.isconnected() and passed(began) < TIMEOUT:
            time.sleep(0.2)
        return self.wlan.isconnected()

    def set_clock(self):
        try:
            ntptime.settime()
        except OSError as error:
            print("ntp:", error)
        return time.gmtime()[0] >= BORN

    def measure(self):
        """What this device is there for; put your sensors here."""
        payload = {"uptime_s": int(time.time() - self.started)}
        if hasattr(gc, "mem_free"):
            payload["free_memory"] = gc.mem_free()
        try:
            payload["rssi_dbm"] = self.wlan.status("rssi")
        except (OSError, ValueError):
            pass
        return payload

    def sample(self):
        """Measure, and send that or keep it."""
        reading = {"telemetry_type": "board", "payload": self.measure(), "recorded_at": utc_now()}
        line = json.dumps(reading).encode()
        try:
            if not self.connect():
                raise Away("no network")
            pending = self.deliver(b"[" + line + b"]")
        except Away as away:
            print("kept in the flash:", away)
            self.spool.append(line)
            return
        try:
            self.empty_spool()
            if pending and not self.live_url:
                self.obey(0)
        except Away as away:
            print("later:", away)

    def deliver(self, body):
        """Send readings; how many commands wait."""
        status, answer = self.site.call("POST", "/telemetry", body)
        if status in FORGET:
            print("refused for good:", answer.get("errors"))
        elif status not in (200, 201):
            raise Away(f"HTTP {status}")
        return answer.get("pending_commands", 0)

    def empty_spool(self):
        while True:
            lines, end = self.spool.batch()
            if lines:
                self.deliver(b"[" + b",".join(lines) + b"]")
            if not end:
                return
            self.spool.done(end)

    def rest(self, seconds):
        """Let so much time pass, waiting for commands where the site has a place for that."""
        began = ticks()
        wait = min(int(seconds), LONGEST_WAIT)
        try:
            if wait and self.wlan.isconnected() and self.find_place():
                if self.obey(wait) or passed(began) > wait - 1:
                    return
                # The live process is not running.
                self.live_url = ""
        except Away as away:
            print("not waiting:", away)
            self.live_url = ""
        time.sleep(max(0, seconds - passed(began)))

    def find_place(self):
        """Return whether long polling is possible; checked at most every RETRY seconds."""
        if not self.live_url and (self.asked_at is None or passed(self.asked_at) > RETRY):
            self.asked_at = ticks()
            _, known = self.site.call("GET", "")
            self.live_url = known.get("live_url") or ""
        return self.live_url

    def obey(self, wait):
        """Carry out the next command, if there is one within so many seconds; whether there was."""
        path = f"/commands?limit=1&wait={wait}"
        _, answer = self.site.call("GET", path, url=self.live_url, wait=wait)
        for command in answer.get("results", []):
            try:
                result = self.execute(command["command_name"], command["payload"])
                outcome = {"status": "executed", "result": result}
            except ValueError as error:
                outcome = {
                    "status": "failed",
                    "reason": "rejected",
                    "result": {"error": str(error)},
                }
            # Should this get lost, the command comes once more. None of these does harm twice.
            body = json.dumps(outcome).encode()
            self.site.call("PATCH", "/commands/" + command["id"], body)
            return True
        return False

    def execute(self, name, payload):
        if name == "ping":
            return {"pong": True, "uptime_s": int(time.time() - self.started)}
        if name == "set_interval":
            self.interval = checked_interval(payload.get("seconds"))
            return {"seconds": self.interval}
        if name == "led":
            on = bool(payload.get("on"))
            machine.Pin(2, machine.Pin.OUT).value(on)
            return {"on": on}
        raise ValueError("this device knows ping, set_interval, led")


def checked_interval(seconds):
    if type(seconds) not in (int, float) or not 1 <= seconds <= 3600:
        raise ValueError("seconds must be a number from 1 to 3600")
    return seconds


def main():
    with open("device.json") as file:
        device = Device(json.load(file))
    try:
        device.run()
    except TokenRefused:
        print("the site refused the token: was it revoked, or the device deleted? Ended")


if __name__ == "__main__":
    main()
