"""One parser under the fuzzer: `python -m tests.fire.fuzzed TARGET FOLDER -max_total_time=…`."""

import sys

import atheris

with atheris.instrument_imports(include=["accounts", "devices", "telemetry"]):
    from tests.input.invariants import TARGETS

if __name__ == "__main__":
    target = TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()
