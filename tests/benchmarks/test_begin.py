"""`make bench` can begin: it has read the code before it knows of any settings."""

import os
import subprocess
import sys

from django.conf import settings


def test_all_of_it_is_read_without_settings() -> None:
    environment = {name: value for name, value in os.environ.items() if "DJANGO" not in name}
    read = [sys.executable, "-c", "import benchmarks.__main__"]
    subprocess.run(read, cwd=settings.BASE_DIR, env=environment, check=True)
