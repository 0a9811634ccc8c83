"""`manage.py worker`: the worker process. The Procfile and the services call it."""

import sys
from typing import Any

from django.core.management.base import BaseCommand

from telemetry_site.operations import worker


class Command(BaseCommand):
    help = "Run the jobs of all queues until SIGINT or SIGTERM."

    def handle(self, **options: Any) -> None:
        if not worker.run():
            sys.exit(1)
