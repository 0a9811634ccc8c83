"""The machine that the figures were measured on."""

import os
import platform
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import psutil

from benchmarks import database
from benchmarks.paths import ROOT

PACKAGES = ["django", "djangorestframework", "psycopg", "granian", "fastapi", "asyncpg", "uvicorn"]


def describe() -> dict[str, str]:
    """What matters of it, by name."""
    with database.connect("postgres") as connection:
        postgres = connection.execute("SHOW server_version").fetchone()
        fsync = connection.execute("SHOW fsync").fetchone()
    assert postgres
    assert fsync
    return {
        "processor": f"{_processor()}, {os.cpu_count()} cores, shared with PostgreSQL and the load",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": platform.platform(terse=True),
        "Python": platform.python_version(),
        "PostgreSQL": f"{postgres[0]}, as embedded, fsync {fsync[0]}",
        "packages": ", ".join(f"{name} {version(name)}" for name in PACKAGES),
        "Go": _told("go", "version").removeprefix("go version "),
        "InfluxDB": _told("influxd", "version"),
        "commit": _told("git", "rev-parse", "--short", "HEAD"),
    }


def _processor() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _told(program: str, *arguments: str) -> str:
    found = shutil.which(program)
    if not found:
        return "not installed"
    command = [found, *arguments]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return told.stdout.strip() or "unknown"
