"""Management commands."""

import socket
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from accounts.models import User

pytestmark = pytest.mark.django_db


def run_command(*words: str) -> str:
    output = StringIO()
    call_command(*words, stdout=output)
    return output.getvalue().strip()


def test_sign_in_link_prints_a_link_that_signs_in_once(owner: User) -> None:
    link = run_command("sign_in_link", "OWNER@example.org")
    path = link.removeprefix("http://localhost:8000")
    browser = Client()
    browser.get(path)
    assert browser.post("/sign-in/link").status_code == 302
    assert browser.get("/").status_code == 200
    late = Client()
    late.get(path)
    assert late.post("/sign-in/link").status_code != 302
    assert late.get("/").status_code == 302


@pytest.mark.parametrize("name", ["unknown", "gone"])
def test_sign_in_link_works_for_active_users_only(owner: User, name: str) -> None:
    User.objects.filter(pk=owner.pk).update(username="gone", is_active=False)
    with pytest.raises(CommandError, match="no active user"):
        run_command("sign_in_link", name)


def test_run_suggests_another_port_if_its_own_is_taken(
    settings: pytest.FixtureRequest,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings.PORT = taken.getsockname()[1]
        with pytest.raises(CommandError, match=f"PORT={settings.PORT + 1} make run"):
            run_command("run")
