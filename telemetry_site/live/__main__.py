"""`python -m telemetry_site.live`: the process, until SIGTERM."""

import os
import resource
import socket
import sys

import django
import uvicorn


def main() -> None:
    """Set up, serve, and answer everybody before the end."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "telemetry_site.settings")
    os.environ["SERVES_REQUESTS"] = "true"
    django.setup()
    from django.conf import settings

    from telemetry_site.counts import counter
    from telemetry_site.live.application import Live

    if not settings.LIVE_PORT:
        sys.stdout.write("LIVE_PORT is 0: pages and devices ask again and again instead\n")
        sys.exit(os.EX_CONFIG)
    allow_connections(settings.LIVE_CONNECTIONS)
    counter.share(settings.METRICS_DIR)
    live = Live()

    class Server(uvicorn.Server):
        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            live.end()
            await super().shutdown(sockets)

    config = uvicorn.Config(
        live,
        host=settings.BIND,
        port=settings.LIVE_PORT,
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=4096,
        limit_concurrency=settings.LIVE_CONNECTIONS,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=3,
    )
    Server(config).run()


def allow_connections(number: int) -> None:
    """Have as many open files as there may be connections, and some more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = number + 100
    if soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


if __name__ == "__main__":
    main()
