"""Every name of `make resilience` can be run first, before Django is configured."""

import os
import subprocess
import sys

from django.conf import settings

BEGIN = """
import importlib
from resilience.__main__ import NAMES
for name in NAMES:
    print(name, callable(importlib.import_module(f"resilience.{name}").run))
"""


def test_every_scenario_can_be_imported_first() -> None:
    environment = {name: value for name, value in os.environ.items() if "DJANGO" not in name}
    done = subprocess.run(
        [sys.executable, "-c", BEGIN],
        cwd=settings.BASE_DIR,
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
    )
    answers = done.stdout.decode().split()[1::2]
    assert answers == ["True"] * 15
