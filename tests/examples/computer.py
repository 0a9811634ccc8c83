"""The example device as a module, with helpers to make readings and to read its spool."""

import importlib.util
import json
from pathlib import Path
from typing import Any

PROGRAM = Path(__file__).resolve().parents[2] / "examples" / "this_computer.py"
TOKEN = "tdt_a-token-of-this-device"

spec = importlib.util.spec_from_file_location("this_computer", PROGRAM)
assert spec is not None
assert spec.loader is not None
this_computer = importlib.util.module_from_spec(spec)
spec.loader.exec_module(this_computer)


def reading(number: int, telemetry_type: str = "load") -> dict[str, Any]:
    at = f"2026-03-01T{number // 3600:02}:{number // 60 % 60:02}:{number % 60:02}.000000Z"
    return {"telemetry_type": telemetry_type, "payload": {"one": number}, "recorded_at": at}


def read_spool(spool_file: Path) -> list[Any]:
    return [json.loads(line) for line in spool_file.read_bytes().split()]


class Crash(BaseException):
    """Simulates a power failure."""
