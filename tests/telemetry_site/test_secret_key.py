"""Rotation of SECRET_KEY: sessions stay valid while the old key is a fallback."""

from typing import Any

import pytest
from django.test import Client

from accounts.models import User
from tests.conftest import signed_in

pytestmark = pytest.mark.django_db
OLD, NEW = "o" * 50, "n" * 50


def has_access(browser: Client) -> bool:
    return browser.get("/").status_code == 200


def test_an_active_session_moves_to_the_new_key_before_the_old_one_is_removed(
    owner: User, settings: Any
) -> None:
    settings.SECRET_KEY = OLD
    browser, unused = signed_in(owner), signed_in(owner)
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = NEW, [OLD]
    assert has_access(browser)
    settings.SECRET_KEY_FALLBACKS = []
    assert has_access(browser)
    assert not has_access(unused)
