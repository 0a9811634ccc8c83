import pytest
from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.test import override_settings

from accounts.passwords import hashers
from telemetry_site import settings as as_installed
from tests.hashers import CheapHasher


def test_passwords_are_hashed_with_argon2id_at_the_strength_we_promise():
    with override_settings(PASSWORD_HASHERS=as_installed.PASSWORD_HASHERS):
        hashed = make_password("correct horse battery staple")
    assert hashed.startswith("argon2$argon2id$v=19$m=65536,t=3,p=4$")


def test_the_tests_themselves_use_the_same_kind():
    assert settings.PASSWORD_HASHERS != as_installed.PASSWORD_HASHERS
    assert make_password("x").startswith("argon2$argon2id$")


def test_more_hashes_than_there_are_places_wait_and_then_give_up(monkeypatch):
    monkeypatch.setattr(hashers, "SLOT_TIMEOUT_SECONDS", 0.01)
    hasher = CheapHasher()
    with hashers.hashing_slot():
        with pytest.raises(hashers.PasswordHashingBusy):
            hasher.encode("password", "saltsalt")
        with pytest.raises(hashers.PasswordHashingBusy):
            hasher.verify("password", "argon2$")
    assert hasher.verify("password", hasher.encode("password", "saltsalt"))
