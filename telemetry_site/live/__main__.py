"""`python -m telemetry_site.live`: the process, until SIGTERM."""

import os
import sys

import django


def main() -> None:
    """Set up, serve, and answer everybody before the end."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "telemetry_site.settings")
    os.environ["IS_WEB_PROCESS"] = "true"
    django.setup()
    from django.conf import settings

    from common.metrics_store import counter
    from telemetry_site.live.asgi import LiveApplication
    from telemetry_site.live.server import Server

    if not settings.LIVE_PORT:
        sys.stdout.write("LIVE_PORT is 0: pages and devices ask again and again instead\n")
        sys.exit(os.EX_CONFIG)
    counter.share(settings.METRICS_DIR)
    Server(LiveApplication(), host=settings.BIND, port=settings.LIVE_PORT).run()


if __name__ == "__main__":
    main()
