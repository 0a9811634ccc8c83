"""What the site refuses to start on when it is public."""

import pytest
from django.core.checks import run_checks
from django.test import override_settings

STRONG = "r9Tq2vXw8ZkLm4NpBs6YdF1gHj3Kc5Va7Ue0RoIiEeWwQqAa-strong"
UNSAFE = [
    ({"DEBUG": True}, "site.E001"),
    ({"ALLOWED_HOSTS": ["*"]}, "site.E002"),
    ({"SECRET_KEY": "short"}, "site.E003"),
    ({"SECRET_KEY": "a" * 80}, "site.E003"),
]


def ids() -> set[str | None]:
    return {message.id for message in run_checks()}


@pytest.mark.parametrize(("settings", "code"), UNSAFE)
def test_behind_https_an_unsafe_setting_is_an_error(settings: dict[str, object], code: str) -> None:
    with override_settings(HTTPS=True, **{"SECRET_KEY": STRONG, **settings}):
        assert code in ids()


@pytest.mark.parametrize(("settings", "code"), UNSAFE)
def test_on_the_own_machine_it_is_not(settings: dict[str, object], code: str) -> None:
    with override_settings(HTTPS=False, **settings):
        assert code not in ids()


def test_a_word_that_means_nothing_is_an_error() -> None:
    with override_settings(REGISTRATION="invitations"):
        assert "site.E004" in ids()


def test_safe_settings_behind_https_are_no_error() -> None:
    with override_settings(HTTPS=True, SECRET_KEY=STRONG, DEBUG=False):
        assert not {code for code in ids() if code and code.startswith("site.")}
