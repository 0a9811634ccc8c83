"""Sessions: start, expiry, end and what is stored."""

from datetime import timedelta

import pytest
from django.contrib.sessions.backends.base import UpdateError
from django.test import Client
from django.utils import timezone

from accounts.models import AuditEvent, Session
from accounts.passwords import services as passwords
from accounts.sessions import services as sessions
from accounts.sessions.store import SessionStore
from tests.factories import create_session

pytestmark = pytest.mark.django_db


def is_signed_in(browser):
    return browser.get("/").status_code == 200


def test_the_session_key_is_stored_only_as_a_hash(owner, owner_client):
    (cookie,) = [
        morsel.value for name, morsel in owner_client.cookies.items() if name.endswith("session")
    ]
    row = Session.objects.get(user=owner)
    assert len(bytes(row.key_hash)) == 32
    assert not [value for value in vars(row).values() if cookie in str(value)]


def test_a_session_in_use_ends_at_its_expiry(owner, owner_client):
    Session.objects.update(expires_at=timezone.now() + timedelta(seconds=30))
    session = owner_client.session
    session["more"] = 1
    session.save()
    assert is_signed_in(owner_client)
    Session.objects.update(expires_at=timezone.now())
    assert not is_signed_in(owner_client)


def test_a_new_session_expires_after_fourteen_days(owner_client):
    row = Session.objects.get()
    assert row.expires_at - row.created_at == timedelta(days=14)


def test_a_session_ends_after_twelve_hours_without_a_request(owner_client):
    long_ago = timezone.now() - timedelta(hours=12)
    Session.objects.update(last_seen_at=long_ago + timedelta(minutes=1))
    assert is_signed_in(owner_client)
    Session.objects.update(last_seen_at=long_ago)
    assert not is_signed_in(owner_client)


def test_a_request_updates_its_session_at_most_once_a_minute(owner_client):
    a_while_ago = timezone.now() - timedelta(seconds=50)
    Session.objects.update(last_seen_at=a_while_ago)
    owner_client.get("/", headers={"User-Agent": "Lynx/2.9"})
    row = Session.objects.get()
    assert (row.last_seen_at, row.user_agent) == (a_while_ago, "")

    Session.objects.update(last_seen_at=a_while_ago - timedelta(seconds=11))
    owner_client.get("/", headers={"User-Agent": "Lynx/2.9" + "x" * 1000})
    row = Session.objects.get()
    assert row.last_seen_at > a_while_ago
    assert row.user_agent.startswith("Lynx/2.9xxx")
    assert len(row.user_agent) == 300
    assert row.address == "127.0.0.1"


def test_saving_a_session_that_was_ended_raises(owner, owner_client):
    session = owner_client.session
    session["more"] = 1
    sessions.end_all(owner)
    with pytest.raises(UpdateError):
        session.save()
    assert not Session.objects.exists()


def test_signing_in_changes_the_key_and_keeps_one_row(owner, client):
    session = client.session
    session["before"] = "kept"
    session.save()
    key = session.session_key
    client.force_login(owner)
    assert client.session.session_key != key
    assert client.session["before"] == "kept"
    assert Session.objects.get().user == owner


def test_a_session_key_that_exists_is_not_used_again(monkeypatch):
    keys = iter(["a" * 32, "a" * 32, "b" * 32])
    monkeypatch.setattr(SessionStore, "_get_new_session_key", lambda self: next(keys))
    for _ in range(2):
        SessionStore().create()
    assert SessionStore("a" * 32).exists("b" * 32)
    assert not SessionStore().exists("c" * 32)


def test_a_user_can_end_only_their_own_sessions(owner, owner_client, stranger_client):
    stranger_session = Session.objects.exclude(user=owner).get()
    with pytest.raises(Session.DoesNotExist):
        sessions.end_session(owner, stranger_session.pk)
    sessions.end_session(owner, Session.objects.get(user=owner).pk)
    assert not is_signed_in(owner_client)
    assert is_signed_in(stranger_client)


def test_a_new_password_ends_all_sessions(owner, owner_client):
    passwords.set_password(owner, "a quite long sentence")
    assert not sessions.active_for_user(owner, now=timezone.now()).exists()
    assert not is_signed_in(owner_client)


def test_a_password_change_by_the_user_keeps_only_the_current_session(owner, owner_client):
    Client().force_login(owner)
    new = {"new_password1": "a quite long sentence", "new_password2": "a quite long sentence"}
    owner_client.post("/account/password", {"old_password": "correct horse battery staple", **new})
    assert is_signed_in(owner_client)
    (row,) = sessions.active_for_user(owner, now=timezone.now())
    assert bytes(row.key_hash) == SessionStore(owner_client.session.session_key).key_hash


def test_ended_sessions_are_recorded_in_the_audit_trail(owner, owner_client):
    other = create_session(owner)
    sessions.end_session(owner, other.pk)
    create_session(owner)
    current = SessionStore(owner_client.session.session_key)
    for _ in range(2):
        sessions.end_others(owner, current=current)
        sessions.end_all(owner)
    events = AuditEvent.objects.for_owner(owner).in_category("session").order_by("created_at")
    assert [event.action for event in events] == [
        "session.ended",
        "session.others_ended",
        "session.all_ended",
    ]


def test_an_expired_session_is_not_listed(owner, owner_client):
    Session.objects.update(last_seen_at=timezone.now() - timedelta(hours=13))
    assert not sessions.active_for_user(owner, now=timezone.now()).exists()


def test_clear_expired_deletes_only_expired_sessions():
    SessionStore().create()
    SessionStore.clear_expired()
    assert Session.objects.count() == 1
    Session.objects.update(expires_at=timezone.now())
    SessionStore.clear_expired()
    assert not Session.objects.exists()
