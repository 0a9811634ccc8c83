"""One parser under the fuzzer: `python -m resilience.fuzz_targets TARGET FOLDER -max_total_time=…`.

The folder is given the corpus to begin with. Without arguments: the names of all targets.
"""

import sys
from pathlib import Path

import atheris
import django

with atheris.instrument_imports(include=["accounts", "devices", "telemetry"]):
    from tests.malformed_input.invariants import TARGETS
    from tests.malformed_input.seeds import seeds

if __name__ == "__main__":
    if len(sys.argv) == 1:
        print(*TARGETS)
        sys.exit()
    name, folder = sys.argv.pop(1), Path(sys.argv[1])
    for number, seed in enumerate(seeds()[name]):
        (folder / f"seed-{number}").write_bytes(seed)
    # Error messages are translated, so a language must be active.
    django.setup()
    atheris.Setup(sys.argv, TARGETS[name])
    atheris.Fuzz()
