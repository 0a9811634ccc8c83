import pytest
from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.test import override_settings

from accounts.passwords import hashers
from telemetry_site import settings as site_settings
from tests.hashers import CheapHasher


def test_passwords_are_hashed_with_argon2id_and_the_documented_parameters():
    with override_settings(PASSWORD_HASHERS=site_settings.PASSWORD_HASHERS):
        hashed = make_password("correct horse battery staple")
    assert hashed.startswith("argon2$argon2id$v=19$m=65536,t=3,p=4$")


def test_the_hasher_of_the_tests_is_argon2id_too():
    assert settings.PASSWORD_HASHERS != site_settings.PASSWORD_HASHERS
    assert make_password("x").startswith("argon2$argon2id$")


def test_hashing_without_a_free_slot_raises_after_the_timeout(monkeypatch):
    monkeypatch.setattr(hashers, "SLOT_TIMEOUT_SECONDS", 0.01)
    hasher = CheapHasher()
    with hashers.hashing_slot():
        with pytest.raises(hashers.PasswordHashingBusy):
            hasher.encode("password", "saltsalt")
        with pytest.raises(hashers.PasswordHashingBusy):
            hasher.verify("password", "argon2$")
    assert hasher.verify("password", hasher.encode("password", "saltsalt"))
