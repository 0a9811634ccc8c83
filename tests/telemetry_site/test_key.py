"""A new SECRET_KEY signs nobody out while the old one is a fallback."""

from typing import Any

import pytest
from django.test import Client

from accounts.models import User
from tests.conftest import signed_in

pytestmark = pytest.mark.django_db
OLD, NEW = "o" * 50, "n" * 50


def may_enter(browser: Client) -> bool:
    return browser.get("/").status_code == 200


def test_who_was_signed_in_stays_so_and_moves_to_the_new_key(owner: User, settings: Any) -> None:
    settings.SECRET_KEY = OLD
    browser, forgotten = signed_in(owner), signed_in(owner)
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = NEW, [OLD]
    assert may_enter(browser)
    settings.SECRET_KEY_FALLBACKS = []
    assert may_enter(browser)
    assert not may_enter(forgotten)
