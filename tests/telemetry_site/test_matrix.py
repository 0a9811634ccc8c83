"""Access control: every route and method, requested by every kind of client (matrix.txt)."""

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import pytest
from django.conf import settings as django_settings
from django.db import transaction
from django.http import HttpResponse
from django.test import Client
from django.urls import get_resolver
from django.utils import timezone

from accounts.models import Token
from accounts.tokens import services as tokens
from accounts.users import data_exports
from telemetry_site.account_data import export as data_export
from tests.conftest import close, signed_in
from tests.factories import (
    CommandFactory,
    DeviceFactory,
    UserFactory,
    create_session,
    device_token,
    device_token_and_row,
    issue_batch,
    register_key,
    store_reading,
    user_token_and_row,
)
from tests.problems import read_problem

pytestmark = pytest.mark.unmeasured

NAMED = ("device_id", "token_id", "session_id", "command_id", "batch_id")
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
SAFE = ("GET", "HEAD")
BODIES = {"/api/v1/invitations": {"email": "new@example.org"}}
"""Bodies of endpoints that validate the body before they check permissions."""


class Route(NamedTuple):
    methods: tuple[str, ...]
    pattern: str
    access: str

    def fits(self, route: str) -> bool:
        """Return whether this line matches a route; a * matches anything between two slashes."""
        return bool(re.fullmatch(re.escape(self.pattern).replace(r"\*", "[^/]+"), route))


def read_table() -> tuple[dict[str, dict[str, str]], list[Route]]:
    """Return the allowed clients of each access level, and the access level of each route."""
    text = Path(__file__).with_name("matrix.txt").read_text(encoding="utf-8")
    lines = [line.replace("|", " ").split() for line in text.splitlines()]
    lines = [words for words in lines if words and words[0] != "#"]
    split = lines.index(["routes"])
    actors = lines[0][1:]
    rules = {access: dict(zip(actors, marks, strict=True)) for access, *marks in lines[1:split]}
    routes = [
        Route(tuple(methods), "" if pattern == "(home)" else pattern, access)
        for *methods, pattern, access in lines[split + 1 :]
    ]
    return rules, routes


ACCESS_RULES, ROUTES = read_table()
ACTORS = list(ACCESS_RULES["public"])
SESSIONS = ("owner", "other", "staff", "super")


def all_routes(resolver: Any = None, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every route of the URLconf with its view."""
    for one in (resolver or get_resolver()).url_patterns:
        path = prefix + str(one.pattern)
        if hasattr(one, "url_patterns"):
            yield from all_routes(one, path)
        else:
            yield path, one.callback


def find_route(route: str) -> Route | None:
    """Return the first line of the table that matches a route."""
    return next((line for line in ROUTES if line.fits(route)), None)


class World:
    """One object for every id of a route, and credentials of every kind of client."""

    def __init__(self, folder: Path) -> None:
        now = timezone.now()
        owner, other = UserFactory.create(username="owner"), UserFactory.create()
        staff = UserFactory.create(is_staff=True)
        superuser = UserFactory.create(is_staff=True, is_superuser=True)
        device = DeviceFactory.create(user=owner)
        people = dict(zip(SESSIONS, (owner, other, staff, superuser), strict=True))
        for user in people.values():
            data_exports.request_export(user, now=now)
        data_export.build_pending()
        cookie = django_settings.SESSION_COOKIE_NAME
        self.cookies = {who: signed_in(user).cookies[cookie].value for who, user in people.items()}

        def secret(scope: Token.Scope = Token.Scope.AUTH, **how: Any) -> str:
            return tokens.issue(owner, scope=scope, now=now, **how)[1].text

        revoked, revoked_secret = user_token_and_row(owner)
        tokens.revoke(revoked)
        self.bearers = {
            "device": device_token(device),
            "other's-device": device_token(DeviceFactory.create(user=other)),
            "full": secret(),
            "read": secret(access=tokens.Access.READ),
            "revoked": revoked_secret,
            "expired": tokens.issue(owner, scope=Token.Scope.AUTH, now=now - timedelta(days=91))[
                1
            ].text,
            "verify": secret(Token.Scope.EMAIL_VERIFICATION),
            "reset": secret(Token.Scope.PASSWORD_RESET),
        }
        self.things = {
            "device_id": device.pk,
            "reading_id": store_reading(device).pk,
            "command_id": CommandFactory.create(device=device).pk,
            "key": register_key(device),
            "batch_id": issue_batch(device).pk,
            "session_id": create_session(owner).pk,
            "token_id": user_token_and_row(owner)[0].pk,
            "device_token_id": device_token_and_row(device)[0].pk,
            "secret": "no-secret",
            "id": owner.pk,
            "object_id": owner.pk,
            "content_type_id": 1,
        }

    def path(self, route: str, **others: Any) -> str:
        """Return the path of the route for the owner's objects."""
        things = {**self.things, **others}
        if "devices/" in route:
            things["token_id"] = things["device_token_id"]
        path = re.sub(r"\^\(\?P<app_label>(\w+).*", r"\1/", route)
        path = re.sub(r"\(\?P<url>.*", "nothing/", path)
        return "/" + re.sub(r"<(?:\w+:)?(\w+)>", lambda match: str(things[match[1]]), path)

    def ask(self, who: str, method: str, path: str) -> HttpResponse:
        """Send a request as a client and return the response; roll back its changes."""
        bearer = self.bearers.get(who)
        client = Client(headers={"Authorization": f"Bearer {bearer}"} if bearer else {})
        if who in self.cookies:
            client.cookies = SimpleCookie({django_settings.SESSION_COOKIE_NAME: self.cookies[who]})
        api = path.startswith("/api/")
        kind = "application/json" if api else "application/x-www-form-urlencoded"
        body = json.dumps(BODIES.get(path, {})).encode() if api else b""
        with transaction.atomic():
            if method in SAFE:
                answer = client.get(path)
            else:
                answer = client.generic(method, path, body, kind)
            transaction.set_rollback(True)
        close(answer)
        return answer


@pytest.fixture
def world(db: None, settings: Any, tmp_path: Path) -> World:
    settings.DATA_EXPORT_DIR = tmp_path
    return World(tmp_path)


def mark(answer: HttpResponse) -> str:
    """Return the mark of the table for a response."""
    assert answer.status_code < 500, answer
    if answer.status_code in (401, 403, 404):
        return str(answer.status_code)
    if re.match(r"/sign-in\?|/admin/login/", answer.get("Location", "")):
        return ">"
    return "+"


def expected(access: str, who: str, method: str) -> str:
    found = ACCESS_RULES[access][who]
    if found == "r":
        return "+" if method in SAFE else "403"
    return found


def test_every_route_is_in_the_table_and_every_line_of_the_table_is_used():
    routes = [route for route, _ in all_routes()]
    assert [route for route in routes if find_route(route) is None] == []
    used = {find_route(route) for route in routes}
    assert [line for line in ROUTES if line not in used] == []
    assert {line.access for line in ROUTES} <= set(ACCESS_RULES)


def test_every_method_of_a_view_class_is_in_the_table():
    told = {}
    for route, view in all_routes():
        if route.startswith("api/"):
            has = {method for method in METHODS if hasattr(view.view_class, method.lower())}
            if has != set(find_route(route).methods):
                told[route] = has
    assert told == {}


@pytest.mark.parametrize("part", ["api/", "pages", "admin"])
def test_every_client_has_the_access_of_the_table(world, part):
    wrong = []
    for route, _ in all_routes():
        if part != next((p for p in ("api/", "admin") if route.startswith(p)), "pages"):
            continue
        line, path = find_route(route), world.path(route)
        # Pages ignore tokens of every kind; the admin treats all users who are not staff alike.
        asking = {"api/": ACTORS, "admin": ("anon", "owner", "staff", "super")}.get(
            part, ("anon", *SESSIONS, "full")
        )
        for method in line.methods:
            for who in asking:
                answer = world.ask(who, method, path)
                got, should = mark(answer), expected(line.access, who, method)
                if part == "api/" and got != "+":
                    read_problem(answer, int(got))
                    assert got != "401" or answer["WWW-Authenticate"] == "Bearer"
                if got != should and (should != "?" or got == ">"):
                    wrong.append(f"{method} {route}: {who} gets {got}, not {should}")
    assert not wrong, "\n".join(wrong)


def test_other_methods_are_rejected(world):
    wrong = []
    for route, _ in all_routes():
        line, path = find_route(route), world.path(route)
        # Django's login view treats PUT as POST.
        if route.startswith("admin") or line.access == "public":
            continue
        for method in set(METHODS) - set(line.methods):
            for who in ("owner", "device") if route.startswith("api/") else ("owner",):
                answer = world.ask(who, method, path)
                if answer.status_code not in (401, 403, 404, 405):
                    wrong.append(f"{method} {route}: {who} gets {answer.status_code}")
    assert not wrong, "\n".join(wrong)


def test_a_404_for_an_object_of_another_user_equals_a_404_for_an_unknown_id(world):
    def refusal(who: str, method: str, path: str) -> str:
        answer = world.ask(who, method, path)
        assert answer.status_code == 404, (who, method, path)
        content = answer.content.decode()
        content = content.replace(answer["X-Request-Id"], "").replace(path, "")
        # Parts that differ in every response: its time and the CSRF token.
        return re.sub(r'data-now="[^"]+"|name="csrfmiddlewaretoken" value="\w+"', "", content)

    for route, _ in all_routes():
        line = find_route(route)
        nothing = {name: uuid4() for name in NAMED}
        nothing["device_token_id"] = nothing["token_id"]
        who = "other" if line.access in ("own", "own-page") else "other's-device"
        if line.access in ("own", "own-page", "own-or-device's", "device's"):
            for method in line.methods:
                there, nowhere = world.path(route), world.path(route, **nothing)
                assert refusal(who, method, there) == refusal(who, method, nowhere), (
                    method,
                    route,
                )
