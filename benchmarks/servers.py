"""The servers under test: started, waited for, weighed, ended."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.paths import FOLDER, HOST, ROOT

PATIENCE = 60.0
"""Seconds a server has to begin to answer."""


class DidNotStart(Exception):
    """A server has ended, or does not answer; its log says why."""


@dataclass(frozen=True)
class Server:
    """A program that listens on a port and takes readings."""

    name: str
    port: int
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path = ROOT
    single_path: str = "/api/v1/device/telemetry"
    batch_path: str = "/api/v1/device/telemetry"


class NotHere(Exception):
    """A peer cannot run on this machine; the message says what to install."""


@contextmanager
def running(server: Server) -> Iterator[psutil.Process]:
    """The server's first process, for as long as the block lasts."""
    if _answers(server.port):
        raise DidNotStart(f"port {server.port} is taken: BENCH_PORT=… make bench")
    log = FOLDER / "logs" / f"{server.name.replace(' ', '_')}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            server.command,
            cwd=server.folder,
            env=os.environ | server.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_for(server, process, log)
        yield psutil.Process(process.pid)
    finally:
        _end(process)


@contextmanager
def all_running(servers: Sequence[Server]) -> Iterator[dict[str, psutil.Process]]:
    """All of them at once; those not measured rest while another one works."""
    with ExitStack() as stack:
        yield {server.name: stack.enter_context(running(server)) for server in servers}


def memory(process: psutil.Process) -> int:
    """Bytes that a process and all it started hold: their proportional set sizes (PSS), in which
    a page that several share is divided among them.
    """
    total = 0
    for one in [process, *process.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            total += one.memory_full_info().pss
    return total


def cpu_seconds(process: psutil.Process) -> float:
    """Seconds of processor time that a process and its living children have used."""
    total = 0.0
    for one in [process, *process.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            times = one.cpu_times()
            total += times.user + times.system
    return total


def _wait_for(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not _answers(server.port):
        if process.poll() is not None or time.monotonic() > deadline:
            raise DidNotStart(f"{server.name}: see {log}")
        time.sleep(0.05)


def _answers(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
