"""Settings from environment variables."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from common.data_dir import make_data_dir
from tests import configuration

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = (ROOT / ".env.example").read_text(encoding="utf-8")


def evaluate_setting(expression: str, **environment: str) -> str:
    """Evaluate an expression of settings in a process with this environment."""
    code = f"from telemetry_site import settings; print({expression})"
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if k != "IS_WEB_PROCESS"} | environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


def test_every_line_of_the_example_is_valid(tmp_path: Path) -> None:
    lines = dict(re.findall(r"^#([A-Z_]+)=(.*)$", EXAMPLE, re.MULTILINE))
    assert len(lines) > 10
    lines["DATA_DIR"] = str(tmp_path)
    assert (
        evaluate_setting("settings.PORT, settings.PUBLIC_URL", **lines)
        == "8000 http://localhost:8000"
    )


def test_the_example_lists_every_variable_that_is_read() -> None:
    source = (ROOT / "telemetry_site" / "settings.py").read_text(encoding="utf-8")
    read = set(re.findall(r"env\.\w+\(\s*\"([A-Z_]+)\"", source)) - {"IS_WEB_PROCESS"}
    assert read == set(re.findall(r"^#([A-Z_]+)=", EXAMPLE, re.MULTILINE))


def test_the_page_of_settings_is_up_to_date() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert page == configuration.markdown(), "make schema"


def test_allowed_hosts_include_the_sites_own_names() -> None:
    hosts = evaluate_setting(
        "settings.ALLOWED_HOSTS", ALLOWED_HOSTS="a,b", PUBLIC_URL="http://site.example"
    )
    assert all(
        f"'{name}'" in hosts for name in ("a", "b", "site.example", "localhost", "127.0.0.1")
    )


@pytest.mark.parametrize(
    ("url", "cookie", "secure"),
    [
        ("https://site.example", "__Host-session", "True"),
        ("http://site.example", "p8000-", "False"),
    ],
)
def test_cookies_are_secure_behind_https(url: str, cookie: str, secure: str) -> None:
    names = "settings.SESSION_COOKIE_NAME, settings.SESSION_COOKIE_SECURE"
    found = evaluate_setting(f"{names}, settings.CSRF_COOKIE_SECURE", PUBLIC_URL=url, PORT="8000")
    assert found.startswith(cookie)
    assert found.split()[1:] == [secure, secure]


def test_the_statement_timeout_applies_to_web_processes_only() -> None:
    options = "settings.DATABASES['default']['OPTIONS']['options']"
    job = evaluate_setting(options, STATEMENT_TIMEOUT_MS="700")
    assert "statement_timeout=0 " in job
    assert "lock_timeout=2000" in job
    served = evaluate_setting(options, STATEMENT_TIMEOUT_MS="700", IS_WEB_PROCESS="true")
    assert "statement_timeout=700 " in served
    assert "lock_timeout=800" in served


def test_a_new_data_dir_is_closed_to_other_users(tmp_path: Path) -> None:
    made = make_data_dir(tmp_path / "new" / "data")
    # If root runs the site, the user of the embedded PostgreSQL needs to pass through it.
    assert made.stat().st_mode & 0o777 == (0o700 if os.geteuid() else 0o711)


def test_the_mode_of_an_existing_data_dir_is_not_changed(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)
    make_data_dir(tmp_path)
    assert tmp_path.stat().st_mode & 0o777 == 0o750
