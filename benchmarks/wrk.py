"""The load generator: wrk, with the scripts in load/."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from benchmarks.places import FOLDER, HOST, LOAD
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
    command = [
        *("wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency"),
        *("-s", str(LOAD / "single.lua"), f"http://{HOST}:{server.port}/", "--"),
        *(str(told), server.single_path, str(int(start.timestamp()))),
    ]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return parse(output)


def parse(output: str) -> Load:
    """What the scripts' last line tells."""
    line = next(line for line in output.splitlines() if line.startswith("RESULT "))
    return Load(**json.loads(line.removeprefix("RESULT ")))
