"""The embedded PostgreSQL and the memory it is given."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection

from common.db.embedded import postgres_memory
from tests.e2e.sites import ROOT, TIMEOUT_SECONDS

GIGABYTE = 1024 * postgres_memory.MEGABYTE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "postgresql.conf").write_text("max_connections = 100\n")
    return tmp_path


def given(folder: Path, size: int, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(postgres_memory, "available", lambda: size)
    postgres_memory.write_memory_config(folder)
    return (folder / "machine.conf").read_text().splitlines()[0]


def test_an_eighth_of_the_machine_is_for_the_tables_within_bounds(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert given(folder, GIGABYTE // 2, monkeypatch) == "shared_buffers = 128MB"
    assert given(folder, 4 * GIGABYTE, monkeypatch) == "shared_buffers = 512MB"
    assert given(folder, 64 * GIGABYTE, monkeypatch) == "shared_buffers = 1024MB"


def test_the_servers_own_file_is_kept_and_gets_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given(folder, GIGABYTE, monkeypatch)
    given(folder, GIGABYTE, monkeypatch)
    assert (folder / "postgresql.conf").read_text() == (
        "max_connections = 100\n\ninclude_if_exists = 'machine.conf'\n"
    )


def test_a_container_has_what_it_is_allowed(tmp_path: Path) -> None:
    limit = tmp_path / "memory.max"
    limit.write_text(f"{64 * postgres_memory.MEGABYTE}\n")
    assert postgres_memory.available(limit) == 64 * postgres_memory.MEGABYTE
    limit.write_text("max\n")
    assert postgres_memory.available(limit) == postgres_memory.available(tmp_path / "no such file")


@pytest.mark.skipif(settings.DATABASE["ENGINE"] != "common.db.embedded", reason="not ours")
def test_the_server_runs_with_it(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT sourcefile FROM pg_settings WHERE name = 'shared_buffers'")
        assert cursor.fetchone()[0].endswith("machine.conf")


@pytest.mark.skipif(os.geteuid() != 0, reason="the wheel opens folders where root starts it")
def test_a_server_that_root_starts_leaves_the_data_folder_closed(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    data_dir = tmp_path / "data"
    ask = "from django.db import connection; connection.ensure_connection()"
    for _ in ("made", "started again"):
        subprocess.run(
            [sys.executable, "manage.py", "shell", "--no-imports", "-c", ask],
            cwd=ROOT,
            env=os.environ | {"DATA_DIR": str(data_dir), "DATABASE_URL": ""},
            check=True,
            timeout=4 * TIMEOUT_SECONDS,
        )
        # The server's user passes through and reads no list of files.
        assert data_dir.stat().st_mode & 0o777 == 0o711
        assert tmp_path.stat().st_mode & 0o777 == 0o711
