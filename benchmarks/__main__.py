"""`python -m benchmarks [NAME …] [--full] [--rounds N]`; without names, everything."""

import argparse
import os
import sys
import time
import traceback
from datetime import UTC, datetime

import django

from benchmarks import database, machine, report
from benchmarks.bench import Bench, Measurement
from benchmarks.client import Refused
from benchmarks.progress import say
from benchmarks.reading_rows import Row
from benchmarks.servers import DidNotStart, NotHere
from benchmarks.work import LONG, MEASUREMENTS


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(MEASUREMENTS))
    parser.add_argument("--full", action="store_true", help="with 50 M stored readings")
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    if unknown := set(chosen.names) - MEASUREMENTS.keys():
        parser.error(
            f"there is no {', '.join(sorted(unknown))}; there is {', '.join(MEASUREMENTS)}"
        )
    bench = Bench(full=chosen.full, rounds=chosen.rounds)
    # Some measurements ask the domain itself, of the larger database.
    os.environ.update(database.environment(bench.large))
    django.setup()
    started, rows = time.monotonic(), []
    for name, measure in MEASUREMENTS.items():
        wanted = name in chosen.names if chosen.names else bench.full or name not in LONG
        if wanted:
            say(f"— {name}")
            rows += failsafe(measure, bench, name)
    facts = {
        **machine.describe(),
        "measured": f"{datetime.now(UTC):%Y-%m-%d}, medians of {bench.rounds} interleaved rounds, "
        f"{(time.monotonic() - started) / 60:.0f} minutes in all",
    }
    sys.stdout.write(report.markdown(rows, facts))
    if not chosen.names:
        report.write(rows, facts, name="full" if bench.full else "quick")


def failsafe(measure: Measurement, bench: Bench, name: str) -> list[Row]:
    """The rows of a measurement; one that fails is a row that says so, and the rest goes on."""
    rows: list[Row] = []
    try:
        rows.extend(measure(bench))
    except Exception as reason:
        if not isinstance(reason, Refused | DidNotStart | NotHere):
            traceback.print_exc()
        rows.append(Row(name, "", note=str(reason).partition("\n")[0]))
    return rows


if __name__ == "__main__":
    main()
