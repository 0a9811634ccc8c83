"""The servers under test, each as it is deployed, all on one PostgreSQL and two processes wide."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks import database
from benchmarks.paths import FOLDER, HOST, PEERS, PORT, ROOT
from benchmarks.servers import NotHere, Server

BIN = Path(sys.executable).parent
NAIVE, GO, INFLUX = "naive DRF", "Go chi + pgx", "InfluxDB 1.6"
GO_PATH = "/usr/share/gocode"
"""Where Debian's golang-…-dev packages put their sources."""


def ours(name: str = database.EMPTY) -> Server:
    """The site as `make run` starts it: web server, worker and first device."""
    port = PORT if name == database.EMPTY else PORT + 1
    return Server(
        name=f"ours on {name}",
        port=port,
        command=[str(BIN / "python"), "manage.py", "run"],
        environment=database.environment(name) | {"PORT": str(port)},
    )


def fastapi() -> Server:
    port = PORT + 2
    app = "benchmarks.peers.fastapi_asyncpg:app"
    options = ["--workers=2", "--no-access-log", "--log-level=warning", f"--port={port}"]
    return _peer("FastAPI + asyncpg", port, [str(BIN / "uvicorn"), app, *options])


def naive_drf() -> Server:
    port = PORT + 3
    app = "benchmarks.peers.naive_drf"
    options = ["--workers=2", f"--bind={HOST}:{port}", "--log-level=warning"]
    command = [str(BIN / "gunicorn"), *options, app]
    return _peer(NAIVE, port, command, single="/readings/", batch="/readings/")


def go_chi() -> Server:
    """Compiled here, with Debian's compiler and libraries. Raises NotHere."""
    port = PORT + 4
    need = "golang-go golang-github-go-chi-chi-dev golang-github-jackc-pgx-v4-dev"
    if not shutil.which("go") or not Path(GO_PATH, "src/github.com/jackc/pgx/v4").exists():
        raise NotHere(f"go or its libraries are not installed (apt-get install {need})")
    program = FOLDER / "go_chi"
    environment = {
        "GO111MODULE": "off",
        "GOPATH": GO_PATH,
        "GOFLAGS": "",
        "GOCACHE": str(FOLDER / "go"),
    }
    subprocess.run(
        ["go", "build", "-o", str(program), "."],
        cwd=PEERS / "go_chi",
        env=os.environ | environment,
        check=True,
    )
    return _peer(GO, port, [str(program)])


def influxdb() -> Server:
    """With a folder of its own, its defaults, and no tokens. Raises NotHere."""
    port = PORT + 5
    if not shutil.which("influxd"):
        raise NotHere("influxd is not installed (apt-get install influxdb)")
    folder = FOLDER / "influxdb"
    settings = {
        "META_DIR": folder / "meta",
        "DATA_DIR": folder / "data",
        "DATA_WAL_DIR": folder / "wal",
        "DATA_QUERY_LOG_ENABLED": "false",
        "HTTP_BIND_ADDRESS": f"{HOST}:{port}",
        "HTTP_LOG_ENABLED": "false",
        "BIND_ADDRESS": f"{HOST}:{PORT + 6}",
        "REPORTING_DISABLED": "true",
        "MONITOR_STORE_ENABLED": "false",
    }
    return Server(
        name=INFLUX,
        port=port,
        command=["influxd", "run", "-config", "/dev/null"],
        environment={f"INFLUXDB_{name}": str(value) for name, value in settings.items()},
        batch_path="/write?db=bench&precision=ms",
    )


def _peer(
    name: str, port: int, command: list[str], single: str = "/readings", batch: str = "/batches"
) -> Server:
    environment = {"DATABASE_URL": database.url(database.EMPTY), "PORT": str(port)}
    return Server(name, port, command, environment, ROOT, single, batch)
