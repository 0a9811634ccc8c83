"""security.txt: the contact for vulnerabilities."""

from datetime import datetime
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

pytestmark = pytest.mark.django_db
PATH = "/.well-known/security.txt"


def test_security_txt_contains_the_contact_and_expires_within_a_year(settings: Any) -> None:
    settings.SECURITY_CONTACT = "mailto:security@example.org"
    answer = Client().get(PATH)
    assert answer["Content-Type"] == "text/plain; charset=utf-8"
    fields = dict(line.split(": ", 1) for line in answer.content.decode().splitlines())
    assert fields["Contact"] == "mailto:security@example.org"
    assert fields["Canonical"] == f"http://localhost:8000{PATH}"
    ahead = datetime.fromisoformat(fields["Expires"]) - timezone.now()
    assert 170 < ahead.days < 365


def test_without_a_contact_security_txt_is_404() -> None:
    assert Client().get(PATH).status_code == 404
