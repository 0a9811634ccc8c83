"""Formatting of values and times."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from telemetry_site.templatetags import display


@pytest.mark.parametrize(
    ("measured", "words"),
    [
        (21.4, "21.4"),
        (0.004771, "0.0048"),
        (0.0000123, "1.23e-05"),
        (0, "0"),
        (-0.5, "-0.5"),
        (100, "100"),
        (1013.25, "1\u202f013.2"),
        (1234567, "1\u202f234\u202f567"),
        (9.99999, "10"),
        (1e30, "1e+30"),
        (True, "true"),
        (None, "null"),
        ("on", "on"),
        ([], "[]"),
        ({}, "{}"),
    ],
)
def test_values_are_displayed_with_few_digits(measured: Any, words: str) -> None:
    assert display.value(measured) == words


@pytest.mark.parametrize(
    ("measured", "decimals", "words"),
    [
        (20, 1, "20.0"),
        (21.4567, 2, "21.46"),
        (-0.04, 1, "0.0"),
        (0.00001, 2, "0.00"),
        (1234.5678, 0, "1\u202f235"),
        (1e20, 2, "1e+20"),
        (0, 0, "0"),
        (True, 2, "true"),
        ("21.4567", 2, "21.4567"),
        (None, 2, "null"),
    ],
)
def test_numbers_are_displayed_with_the_given_decimals(
    measured: Any, decimals: int, words: str
) -> None:
    assert display.value(measured, decimals) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "now"),
        (12.9, "12 s ago"),
        (60, "1 min ago"),
        (7200, "2 h ago"),
        (3 * 86400, "3 d ago"),
        (40 * 86400, "6 May 2025"),
        (-3300, "in 55 min"),
    ],
)
def test_times_are_displayed_as_an_age(now: datetime, seconds: float, words: str) -> None:
    assert display.ago(now - timedelta(seconds=seconds), now) == words
