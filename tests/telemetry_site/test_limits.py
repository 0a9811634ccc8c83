"""The limits that people are told of are those in force."""

from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.test import Client

from telemetry_site import limits


def test_the_page_of_the_docs_is_what_the_settings_say() -> None:
    page = Path(django_settings.BASE_DIR, "docs", "limits.md").read_text(encoding="utf-8")
    assert page == limits.markdown(), "make schema"


def test_every_variable_that_sets_a_limit_can_be_found_where_all_variables_are() -> None:
    known = Path(django_settings.BASE_DIR, ".env.example").read_text(encoding="utf-8")
    for _title, group in limits.groups():
        for limit in group:
            assert not limit.variable or f"{limit.variable}=" in known, limit


@pytest.mark.django_db
def test_the_page_of_the_site_tells_of_other_limits_where_others_are_set(
    client: Client, settings: Any
) -> None:
    settings.READINGS_PER_REQUEST = 123
    settings.RATE_LIMITS = {"invitation": (7, 90)}
    page = client.get("/help/limits").text
    assert '<td class="limit">123</td>' in page
    assert '<td class="limit">7 in 90 seconds</td>' in page
