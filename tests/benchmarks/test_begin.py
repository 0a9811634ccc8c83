"""`make bench` imports the benchmarks before the settings are configured."""

import os
import subprocess
import sys

from django.conf import settings


def test_the_benchmarks_are_imported_without_settings() -> None:
    environment = {name: value for name, value in os.environ.items() if "DJANGO" not in name}
    read = [sys.executable, "-c", "import benchmarks.__main__"]
    subprocess.run(read, cwd=settings.BASE_DIR, env=environment, check=True)
