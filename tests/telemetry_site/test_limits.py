"""The documented limits are those in force."""

from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.test import Client

from telemetry_site import limits


def test_the_document_of_limits_matches_the_settings() -> None:
    page = Path(django_settings.BASE_DIR, "docs", "limits.md").read_text(encoding="utf-8")
    assert page == limits.markdown(), "make schema"


def test_every_variable_of_a_limit_is_in_the_example_of_settings() -> None:
    known = Path(django_settings.BASE_DIR, ".env.example").read_text(encoding="utf-8")
    for _title, group in limits.groups():
        for limit in group:
            assert not limit.variable or f"{limit.variable}=" in known, limit


@pytest.mark.django_db
def test_the_page_of_limits_shows_changed_settings(client: Client, settings: Any) -> None:
    settings.READINGS_PER_REQUEST = 123
    settings.RATE_LIMITS = {"invitation": (7, 90)}
    page = client.get("/help/limits").text
    assert '<td class="limit">123</td>' in page
    assert '<td class="limit">7 in 90 seconds</td>' in page
