"""`python -m telemetry_site.live` runs the live process until SIGTERM."""

import os
import sys

import django


def main() -> None:
    """Set up Django and serve. On SIGTERM, respond to all pending requests, then exit."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "telemetry_site.settings")
    os.environ["IS_WEB_PROCESS"] = "true"
    django.setup()
    from django.conf import settings

    from common.metrics_store import counter
    from telemetry_site.live.asgi import LiveApplication
    from telemetry_site.live.server import Server

    if not settings.LIVE_PORT:
        sys.stdout.write("LIVE_PORT is 0: no live process. Pages and devices poll the site.\n")
        sys.exit(os.EX_CONFIG)
    counter.persist_to(settings.METRICS_DIR)
    Server(LiveApplication(), host=settings.BIND, port=settings.LIVE_PORT).run()


if __name__ == "__main__":
    main()
