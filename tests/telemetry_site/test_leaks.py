"""The leak detector: each test leaks a token and checks that it is found."""

import logging
from urllib.parse import quote

import pytest
from django.db import connection

from accounts.tokens import format as token_format
from devices.models import Device
from tests.leaks import detector


@pytest.fixture
def secret():
    return token_format.generate("tsu").text


def test_a_token_in_a_text_column_is_found(device, secret):
    Device.objects.filter(pk=device.pk).update(name=f"the {secret}")
    assert detector.find_leaks(database=True) == [f"the table devices has {secret}"]


def test_a_token_deep_in_a_json_column_is_found(device, secret):
    Device.objects.filter(pk=device.pk).update(metadata={"a": [{"b": secret}]})
    assert detector.find_leaks(database=True) == [f"the table devices has {secret}"]


def test_a_token_in_a_bytes_column_is_found(db, secret):
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE kept (it bytea)")
        cursor.execute("INSERT INTO kept VALUES (%s)", [secret.encode()])
    assert detector.find_leaks(database=True) == [f"the table kept has {secret}"]


def test_a_token_that_was_never_issued_is_ignored(device, secret):
    made_up = secret[:-1] + ("0" if secret[-1] != "0" else "1")
    Device.objects.filter(pk=device.pk).update(name=made_up)
    assert detector.find_leaks(database=True) == []


@pytest.mark.parametrize("path", ["/devices?token={}", "/devices/{}", "/sign-in?next=/x/{}"])
def test_a_token_in_a_url_is_found(client, db, secret, path):
    client.get(path.format(quote(secret)))
    assert detector.find_leaks(database=False)


def test_a_token_in_the_url_of_a_mailed_link_is_allowed(client, db, secret):
    client.get(f"/sign-in/link/{secret}")
    assert detector.find_leaks(database=False) == []


def test_a_token_in_the_log_is_found(secret, monkeypatch):
    monkeypatch.setattr(token_format, "mask_tokens", lambda text: text)
    logging.getLogger("devices").warning("look: %s", secret)
    assert detector.find_leaks(database=False) == [f"a log line has {secret}"]


def test_a_masked_token_in_the_log_is_ignored(secret):
    logging.getLogger("devices").warning("look: %s", secret)
    assert detector.find_leaks(database=False) == []
