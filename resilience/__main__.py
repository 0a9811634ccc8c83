"""`make resilience`: the promises, tried on processes of their own while things go wrong."""

import importlib
import os
import signal
import sys
import time

NAMES = (
    *("malformed_input", "schema", "fuzz"),
    *(
        "hostile_clients",
        "database_outage",
        "crash",
        "overload",
        "slow_clients",
        "races",
        "online_migrations",
        "recovery",
        "soak",
    ),
    *("mutation_checks", "postgres15", "pgbouncer"),
)


def main(names: list[str]) -> int:
    """Run the named ones, or all; 0 if every promise was kept."""
    unknown = set(names) - set(NAMES)
    if unknown:
        print(f"There is no {', '.join(sorted(unknown))}. There are: {' '.join(NAMES)}")
        return 2
    broken = 0
    for name in names or NAMES:
        module = importlib.import_module(f"resilience.{name}")
        print(f"\n{name}: {module.__doc__.splitlines()[0]}", flush=True)
        started = time.monotonic()
        faults = module.run()
        for fault in faults:
            print(f"  BROKEN  {fault}", flush=True)
        said = f"{len(faults)} broken" if faults else "kept"
        print(f"  {said}, {time.monotonic() - started:.0f} s", flush=True)
        broken += len(faults)
    return 1 if broken else 0


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    # On SIGTERM, end the started processes first.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main(sys.argv[1:]))
