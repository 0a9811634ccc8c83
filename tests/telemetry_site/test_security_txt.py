"""Whom to tell of a weakness."""

from datetime import datetime
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

pytestmark = pytest.mark.django_db
PATH = "/.well-known/security.txt"


def test_security_txt_names_the_contact_for_some_months(settings: Any) -> None:
    settings.SECURITY_CONTACT = "mailto:security@example.org"
    answer = Client().get(PATH)
    assert answer["Content-Type"] == "text/plain; charset=utf-8"
    fields = dict(line.split(": ", 1) for line in answer.content.decode().splitlines())
    assert fields["Contact"] == "mailto:security@example.org"
    assert fields["Canonical"] == f"http://localhost:8000{PATH}"
    ahead = datetime.fromisoformat(fields["Expires"]) - timezone.now()
    assert 170 < ahead.days < 365


def test_without_a_contact_there_is_none() -> None:
    assert Client().get(PATH).status_code == 404
