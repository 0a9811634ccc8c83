"""nginx with the configuration of deploy/, its own ports and its own certificate."""

import re
import socket
import ssl
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

from tests.e2e.sites import ROOT, free_port

SHIPPED = ROOT / "deploy" / "nginx" / "telemetry.conf"
AROUND = """
daemon off;
worker_processes 1;
pid {folder}/pid;
error_log {folder}/error.log warn;
events {{ worker_connections 2048; }}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/telemetry.conf;
}}
"""


class Nginx:
    """In front of the site at this port; `http` and `https` are its own."""

    def __init__(self, site_port: int, live_port: int = 1) -> None:
        self.http, self.https = free_port(), free_port()
        self.holder = tempfile.TemporaryDirectory(prefix="fire-nginx-")
        self.folder = Path(self.holder.name)
        self.folder.chmod(0o755)
        shipped = SHIPPED.read_text(encoding="utf-8")
        for pattern, instead in (
            (r"127\.0\.0\.1:8000", f"127.0.0.1:{site_port}"),
            (r"127\.0\.0\.1:15000", f"127.0.0.1:{live_port}"),
            (r"listen 80\b", f"listen 127.0.0.1:{self.http}"),
            (r"listen 443 ssl", f"listen 127.0.0.1:{self.https} ssl"),
            (r"listen \[::\].*", ""),
            (r"server_name telemetry\.example\.org", "server_name localhost"),
            (r"/etc/letsencrypt/live/telemetry\.example\.org", str(self.folder)),
        ):
            shipped, replaced = re.subn(pattern, instead, shipped)
            assert replaced, pattern
        (self.folder / "telemetry.conf").write_text(shipped, encoding="utf-8")
        (self.folder / "nginx.conf").write_text(AROUND.format(folder=self.folder))

    def __enter__(self) -> Self:
        make = (
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1"
            " -subj /CN=localhost -addext subjectAltName=DNS:localhost"
            " -keyout privkey.pem -out fullchain.pem"
        )
        subprocess.run(make.split(), check=True, capture_output=True, cwd=self.folder)
        command = ["nginx", "-p", str(self.folder), "-c", str(self.folder / "nginx.conf")]
        subprocess.run([*command, "-t"], check=True, capture_output=True, text=True)
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        while True:
            assert self.process.poll() is None, (self.folder / "error.log").read_text()
            try:
                socket.create_connection(("127.0.0.1", self.https), timeout=5).close()
            except OSError:
                time.sleep(0.01)
            else:
                return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(20)
        self.holder.cleanup()

    def trust(self) -> ssl.SSLContext:
        """Who speaks to it believes its certificate."""
        return ssl.create_default_context(cafile=str(self.folder / "fullchain.pem"))
