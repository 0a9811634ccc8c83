"""The watch over issued secrets can bark: each test here leaks one, sees it found, and mops up."""

import logging
from urllib.parse import quote

import pytest
from django.db import connection

from accounts.tokens import format as token_format
from devices.models import Device
from tests.leaks import watch


@pytest.fixture
def secret():
    return token_format.generate("tsu").text


def test_one_in_a_text_column_is_found(device, secret):
    Device.objects.filter(pk=device.pk).update(name=f"the {secret}")
    assert watch.look(database=True) == [f"the table devices has {secret}"]


def test_one_deep_in_a_json_column_is_found(device, secret):
    Device.objects.filter(pk=device.pk).update(metadata={"a": [{"b": secret}]})
    assert watch.look(database=True) == [f"the table devices has {secret}"]


def test_one_in_a_column_of_bytes_is_found(db, secret):
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE kept (it bytea)")
        cursor.execute("INSERT INTO kept VALUES (%s)", [secret.encode()])
    assert watch.look(database=True) == [f"the table kept has {secret}"]


def test_what_has_the_shape_of_one_and_was_never_issued_is_none(device, secret):
    made_up = secret[:-1] + ("0" if secret[-1] != "0" else "1")
    Device.objects.filter(pk=device.pk).update(name=made_up)
    assert watch.look(database=True) == []


@pytest.mark.parametrize("path", ["/devices?token={}", "/devices/{}", "/sign-in?next=/x/{}"])
def test_one_in_an_address_is_found(client, db, secret, path):
    client.get(path.format(quote(secret)))
    assert watch.look(database=False)


def test_the_address_of_a_mailed_link_may_have_one(client, db, secret):
    client.get(f"/sign-in/link/{secret}")
    assert watch.look(database=False) == []


def test_one_that_is_written_to_the_log_is_found(secret, monkeypatch):
    monkeypatch.setattr(token_format, "mask_tokens", lambda text: text)
    logging.getLogger("devices").warning("look: %s", secret)
    assert watch.look(database=False) == [f"a log line has {secret}"]


def test_one_that_the_log_masks_is_not(secret):
    logging.getLogger("devices").warning("look: %s", secret)
    assert watch.look(database=False) == []
