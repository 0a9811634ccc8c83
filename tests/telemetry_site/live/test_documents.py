"""The commands, links and paths in the documents are valid."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.management import get_commands, load_command_class
from pytest_django.live_server_helper import LiveServer as Site

from devices.models import Device
from telemetry.models import Telemetry
from tests.factories import NOW, device_token, store_readings, user_token
from tests.telemetry_site.live.conftest import LiveServer

ROOT = Path(django_settings.BASE_DIR)
TOLD = sorted(
    str(path.relative_to(ROOT)) for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
)
DOCUMENTS = [*TOLD, "benchmarks/README.md"]
COMMAND = re.compile(r"^(?:make|curl|.*manage\.py|BENCH_PORT=) ?.*(?:(?<=\\)\n.*)*", re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")
CODE = re.compile(r"`((?:[\w.-]+/)+[\w.-]*)`")
"""A path in the project, if its first folder exists."""
TIMED_OUT = 28
"""The exit status of curl after a timeout."""


def commands_of(document: str) -> list[str]:
    """Return the complete commands in the document's blocks of code."""
    text = (ROOT / document).read_text(encoding="utf-8")
    blocks = re.findall(r"(?:^ {4}.*\n)+", text, re.MULTILINE)
    plain = [re.sub(r"^ {4}", "", block, flags=re.MULTILINE) for block in blocks]
    return [command for block in plain for command in COMMAND.findall(block)]


ALL = [(document, command) for document in DOCUMENTS for command in commands_of(document)]
CURL = [pair for pair in ALL if pair[1].startswith("curl") and "readyz" not in pair[1]]
MANAGE = [pair for pair in ALL if "python manage.py" in pair[1]]
MAKE = [pair for pair in ALL if re.search(r"\bmake \w", pair[1].partition("#")[0])]


def test_commands_of_every_kind_are_found_in_the_documents() -> None:
    assert len(CURL) >= 4
    assert len(MANAGE) >= 10
    assert len(MAKE) >= 8


@pytest.mark.parametrize("document", TOLD)
def test_links_and_paths_in_a_document_exist(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    links = [(ROOT / document).parent / link for link in LINK.findall(text)]
    places = [ROOT / place for place in CODE.findall(text) if (ROOT / place.split("/")[0]).is_dir()]
    places = [place for place in places if place.relative_to(ROOT).parts[0] != "var"]
    assert [str(place) for place in links + places if not place.exists()] == []


@pytest.mark.parametrize(("document", "command"), MAKE)
def test_the_makefile_has_the_target(document: str, command: str) -> None:
    made = re.search(r"make (\w+)", command)
    assert made, command
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{made[1]}:", makefile, re.MULTILINE), f"{document}: {command}"


@pytest.mark.parametrize(("document", "command"), MANAGE)
def test_the_management_command_has_these_options(document: str, command: str) -> None:
    line = command.partition("#")[0].partition("manage.py")[2].partition(", ")[0]
    name, *words = re.sub(r"\[.*?\]|…", "", line).split()
    parser = load_command_class(get_commands()[name], name).create_parser("manage.py", name)
    parser.parse_args(words)


@pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl")
def test_the_curl_commands_of_the_documents_work(
    live: LiveServer, live_server: Site, device: Device, settings: Any, tmp_path: Path
) -> None:
    settings.LIVE_URL = f"http://127.0.0.1:{live.port}"
    store_readings(device, payloads=[{"temperature": 20}], recorded_at=NOW)
    (tmp_path / ".curlrc").write_text("fail-with-body\nmax-time = 3\n", encoding="utf-8")
    told = []
    for document, command in CURL:
        of_device = document in ("README.md", "docs/connect.md", "docs/api/devices.md")
        token = device_token(device) if of_device else user_token(device.user)
        given = {"TOKEN": token, "SITE": live_server.url, "ID": str(device.pk)}
        done = subprocess.run(
            command.replace("http://localhost:8000", live_server.url),
            shell=True,
            cwd=tmp_path,
            env={"PATH": "/usr/bin:/bin", "CURL_HOME": str(tmp_path), **given},
            stdout=subprocess.PIPE,
            check=False,
        )
        assert done.returncode in (0, TIMED_OUT), (document, command, done.stdout)
        told.append(done.stdout.decode())
    everything = "\n".join(told)
    assert '"temperature":21.4' in everything.replace(" ", "")
    assert "event: ready" in everything
    assert '"duplicates":2' in everything.replace(" ", "")
    assert Telemetry.objects.filter(device=device).count() == 2
