"""The load generator: wrk, with the scripts in load/."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from benchmarks.bodies import Batch
from benchmarks.client import Refused
from benchmarks.paths import FOLDER, HOST, LOAD
from benchmarks.servers import Server

CONNECTIONS = 16
MISSING = "wrk is not installed (apt-get install wrk)"


@dataclass(frozen=True)
class Load:
    """What a load came to."""

    requests: int
    microseconds: int
    refused: int
    broken: int
    p50_ms: float
    p99_ms: float

    @property
    def per_second(self) -> float:
        return self.requests / self.microseconds * 1e6


def here() -> bool:
    return shutil.which("wrk") is not None


def singles(server: Server, tokens: Sequence[str], *, start: datetime, seconds: int) -> Load:
    """Single readings over CONNECTIONS kept connections for so many seconds."""
    told = FOLDER / "tokens"
    told.write_text("\n".join(tokens) + "\n", encoding="utf-8")
    arguments = [str(told), server.single_path, str(int(start.timestamp()))]
    return _run("single.lua", server, arguments, connections=CONNECTIONS, seconds=seconds)


def batches(server: Server, requests: Path, *, connections: int, seconds: int) -> Load:
    """The requests that `write` has put into a file, as many as there is time for."""
    arguments = [server.batch_path, str(requests)]
    return _run("batches.lua", server, arguments, connections=connections, seconds=seconds)


def write(target: Path, batches: Iterable[Batch], tokens: Sequence[str]) -> None:
    """Put batches into a file, each with its device's token."""
    with target.open("wb") as file:
        for batch in batches:
            file.write(f"{tokens[batch.device]} {len(batch.body)}\n".encode() + batch.body)


def _run(
    script: str, server: Server, arguments: list[str], *, connections: int, seconds: int
) -> Load:
    command = [
        *("wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "--timeout=10s"),
        *("-s", str(LOAD / script), f"http://{HOST}:{server.port}/", "--", *arguments),
    ]
    environment = os.environ | {"WRK_RESULT": str(LOAD / "result.lua")}
    ran = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    if ran.returncode:
        # A script that has sent everything before the time is up: what is refused is refused fast.
        raise Refused(f"{server.name}: wrk ended with {ran.returncode}: {ran.stderr.strip()}")
    return parse(ran.stdout)


def parse(output: str) -> Load:
    """What the scripts' last line tells."""
    line = next(line for line in output.splitlines() if line.startswith("RESULT "))
    return Load(**json.loads(line.removeprefix("RESULT ")))
