"""Where the benchmark keeps what it makes; nothing is left outside of this folder."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BENCHMARKS = ROOT / "benchmarks"
LOAD = BENCHMARKS / "load"
PEERS = BENCHMARKS / "peers"
RESULTS = BENCHMARKS / "results"
FOLDER = ROOT / "var" / "bench"

HOST = "127.0.0.1"
PORT = int(os.environ.get("BENCH_PORT", "8100"))
"""The first of the ten ports that the servers under test listen on."""
