"""Schemathesis: requests made of docs/openapi.yaml, with all of its checks, as each role."""

import json
import os
import re
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from resilience.server import PostgreSQL
from resilience.site import Site
from resilience.tools import BIN
from tests.e2e.sites import ROOT
from tests.malformed_input.endpoints import NOWHERE
from tests.malformed_input.runner import LIMITS

EXAMPLES = int(os.environ.get("SCHEMA_EXAMPLES", "30"))
"""Of each operation, beside those that its schema's limits call for."""
ROLES = os.environ.get("SCHEMA_ROLES", "").split(",") if "SCHEMA_ROLES" in os.environ else []
"""Only these, if any are named."""
REPORTS = ROOT / "var" / "fire" / "schema"
CAST = """
import json
from django.conf import settings
from django.test import Client
from accounts.models import Token
from tests.factories import StaffFactory
from tests.factories import user_token
from tests.factories import user_token_and_row
from tests.malformed_input.fixtures import make_cast

def headers(name, cast):
    owner = Token.objects.get(pk=cast.ids["user_token_id"]).user
    if name == "anonymous":
        return {}
    if name == "staff in a browser":
        client = Client()
        client.force_login(StaffFactory.create())
        key, csrf = client.cookies[settings.SESSION_COOKIE_NAME].value, "a" * 32
        cookie = f"{settings.SESSION_COOKIE_NAME}={key}; {settings.CSRF_COOKIE_NAME}={csrf}"
        return {"Cookie": cookie, "X-CSRFToken": csrf}
    if name == "reader":
        row, token = user_token_and_row(owner)
        Token.objects.filter(pk=row.pk).update(access="read")
    elif name == "staff":
        token = user_token(StaffFactory.create())
    else:
        token = cast.tokens["deviceToken" if name == "device" else "userToken"]
    return {"Authorization": f"Bearer {token}"}

for name in ("anonymous", "owner", "reader", "staff", "staff in a browser", "device"):
    cast = make_cast()
    told = {"headers": headers(name, cast), "ids": cast.ids, "spare": cast.spare}
    print(json.dumps([name, told]))
"""
LAST = {"/api/v1/auth/logout", "/api/v1/devices/{device_id}/tokens/rotate"}
"""What would end the token that it is called with."""


def run() -> list[str]:
    """On one site, each role with things of its own."""
    REPORTS.mkdir(parents=True, exist_ok=True)
    faults: list[str] = []
    with PostgreSQL() as server, Site(server.url, **LIMITS) as site:
        for line in site.manage("shell", "--no-imports", "-c", CAST).splitlines():
            name, cast = json.loads(line)
            if not ROLES or name in ROLES:
                faults += as_role(site, cast, name)
        for word in ("Traceback", "panicked"):
            if word in (log := site.log.read_text()):
                faults.append(f"in the log: {log[log.index(word) :][:3000]}")
    return faults


def as_role(site: Site, cast: Any, name: str) -> list[str]:
    """What schemathesis finds as this role; all of it is in a file below REPORTS."""
    report = REPORTS / f"{name.replace(' ', '-')}.txt"
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fire-schema-") as folder:
        config = Path(folder) / "schemathesis.toml"
        config.write_text(configuration(cast))
        done = subprocess.run(
            [
                *(str(BIN / "schemathesis"), "--no-color", "--config-file", str(config)),
                *(
                    "run",
                    str(ROOT / "docs" / "openapi.yaml"),
                    "--url",
                    f"http://localhost:{site.port}",
                ),
            ],
            cwd=ROOT,
            env=os.environ | {"SCHEMATHESIS_HOOKS": "resilience.contract", "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
    report.write_text(done.stdout + done.stderr)
    counted = re.search(r"(\d+) generated.*", done.stdout)
    print(
        f"  {name}: {counted[0] if counted else done.stdout[-300:]},"
        f" {time.monotonic() - started:.0f} s",
        flush=True,
    )
    if done.returncode == 0:
        return []
    found = re.findall(r"^_+ ([A-Z]+ .+?) _+$", done.stdout, re.MULTILINE)
    return [f"{name}: {one}, see {report.relative_to(ROOT)}" for one in found or ["it ended"]]


def configuration(cast: Any) -> str:
    """Of schemathesis: who asks, of what, and what may become of it."""
    headers, own = cast["headers"], cast["ids"]
    lines = [
        f"headers = {table(headers)}",
        "continue-on-failure = true",
        "request-timeout = 20",
        f"generation.max-examples = {EXAMPLES}",
        "generation.database = 'none'",
        "cache.enabled = false",
        # resilience/contract.py looks at it more closely.
        "[checks]",
        "positive_data_acceptance.enabled = false",
        "negative_data_rejection.expected-statuses = "
        "[400, 401, 403, 404, 405, 409, 411, 413, 415, 422]",
        # It cannot take away the session of a browser, which is sent with everything.
        f"ignored_auth.enabled = {str('Cookie' not in headers).lower()}",
        "[parameters]",
        *(f'"path.{name}" = {json.dumps(value)}' for name, value in own.items()),
    ]
    gone = {f"path.{name}": str(NOWHERE) for name in own}
    for path, method in destructive():
        lines += ["[[operations]]", f'include-path = "{path}"', f'include-method = "{method}"']
        lines += [f"parameters = {table(gone)}"]
        if path in LAST and "Authorization" in headers:
            spare = {**headers, "Authorization": f"Bearer {cast['spare']}"}
            lines += [f"headers = {table(spare)}"]
    return "\n".join(lines) + "\n"


def destructive() -> list[tuple[str, str]]:
    """What would take away that of which the others ask."""
    return [
        *((path, "POST") for path in LAST),
        ("/api/v1/devices/{device_id}", "DELETE"),
        ("/api/v1/devices/{device_id}/tokens/{token_id}", "DELETE"),
        ("/api/v1/tokens/{token_id}", "DELETE"),
        ("/api/v1/sessions/{session_id}", "DELETE"),
    ]


def table(values: dict[str, str]) -> str:
    """As TOML has it."""
    return "{" + ", ".join(f'"{name}" = {json.dumps(text)}' for name, text in values.items()) + "}"
