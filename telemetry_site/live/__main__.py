"""`python -m telemetry_site.live`: the process, until SIGTERM."""

import os
import sys

import django


def main() -> None:
    """Set up, serve, and answer everybody before the end."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "telemetry_site.settings")
    os.environ["SERVES_REQUESTS"] = "true"
    django.setup()
    from django.conf import settings

    from telemetry_site.counts import counter
    from telemetry_site.live.application import Live
    from telemetry_site.live.server import Server

    if not settings.LIVE_PORT:
        sys.stdout.write("LIVE_PORT is 0: pages and devices ask again and again instead\n")
        sys.exit(os.EX_CONFIG)
    counter.share(settings.METRICS_DIR)
    Server(Live(), host=settings.BIND, port=settings.LIVE_PORT).run()


if __name__ == "__main__":
    main()
