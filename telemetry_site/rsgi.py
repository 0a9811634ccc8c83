"""The application that granian serves."""

import os
import signal
from multiprocessing import parent_process

import django

if parent_process():
    # granian's workers install their SIGTERM handler after this import; until then the handler
    # inherited from their parent would swallow the signal.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "telemetry_site.settings")
os.environ["IS_WEB_PROCESS"] = "true"
django.setup()

from django.conf import settings  # noqa: E402

from common.metrics_store import counter  # noqa: E402
from telemetry_site.operations.checks import refuse_unsafe_start  # noqa: E402
from telemetry_site.server.application import Application  # noqa: E402

refuse_unsafe_start()
counter.persist_to(settings.METRICS_DIR)
application = Application()
