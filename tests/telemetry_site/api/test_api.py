"""Rules for every route of the API; access is tested in test_matrix."""

import re
from contextlib import contextmanager
from itertools import product

import pytest
from django.db import transaction
from django.urls import get_resolver
from django.utils import timezone

from accounts.users import data_exports
from telemetry_site.account_data import export as data_export
from tests.conftest import Api, close
from tests.factories import (
    CommandFactory,
    DeviceFactory,
    create_session,
    device_token,
    device_token_and_row,
    issue_batch,
    register_key,
    store_reading,
    user_token_and_row,
)
from tests.problems import read_problem

API = "/api/v1/"

# The clients that each route accepts. The first test fails for a route that is not listed here.
PUBLIC, USERS, DEVICES, OWNER, OWNER_AND_DEVICE, ISSUER = (
    "any client", "any user", "any device", "the owner of the device", "the owner and the device",
    "the sender",
)  # fmt: skip
ROUTES = {
    "auth/login": {"POST": PUBLIC},
    "auth/logout": {"POST": USERS},
    "auth/register": {"POST": PUBLIC},
    "auth/verify-email": {"POST": PUBLIC},
    "auth/verify-email/resend": {"POST": PUBLIC},
    "auth/password-reset": {"POST": PUBLIC},
    "auth/password-reset/confirm": {"POST": PUBLIC},
    "auth/password": {"POST": USERS},
    "auth/address/resend": {"POST": USERS},
    "auth/join": {"POST": PUBLIC},
    "invitations": {"POST": USERS},
    "users/me": {"GET": USERS, "PATCH": USERS, "DELETE": USERS},
    "tokens": {"GET": USERS, "POST": USERS},
    "tokens/<uuid:token_id>": {"DELETE": USERS},
    "sessions": {"GET": USERS},
    "sessions/<uuid:session_id>": {"DELETE": USERS},
    "audit": {"GET": USERS},
    "users/me/archive": {"GET": USERS, "POST": USERS},
    "users/me/archive/file": {"GET": USERS},
    "schema": {"GET": PUBLIC},
    "events": {"GET": USERS},
    "device": {"GET": DEVICES},
    "device/telemetry": {"POST": DEVICES},
    "device/commands": {"GET": DEVICES},
    "device/commands/<uuid:command_id>": {"PATCH": DEVICES},
    "devices": {"GET": USERS, "POST": USERS},
    "devices/<uuid:device_id>": {"GET": OWNER, "PATCH": OWNER, "DELETE": OWNER},
    "devices/<uuid:device_id>/refusals": {"GET": OWNER_AND_DEVICE},
    "devices/<uuid:device_id>/tokens": {"GET": OWNER, "POST": OWNER},
    "devices/<uuid:device_id>/tokens/rotate": {"POST": OWNER},
    "devices/<uuid:device_id>/tokens/<uuid:token_id>": {"DELETE": OWNER},
    "devices/<uuid:device_id>/telemetry": {"GET": OWNER_AND_DEVICE, "POST": OWNER_AND_DEVICE},
    "devices/<uuid:device_id>/telemetry/latest": {"GET": OWNER},
    "devices/<uuid:device_id>/telemetry/series": {"GET": OWNER},
    "devices/<uuid:device_id>/telemetry/export": {"GET": OWNER},
    "devices/<uuid:device_id>/telemetry/import": {"POST": OWNER},
    "devices/<uuid:device_id>/telemetry/<uuid:reading_id>": {"GET": OWNER},
    "devices/<uuid:device_id>/keys": {"GET": OWNER},
    "devices/<uuid:device_id>/keys/<key:key>": {"PATCH": OWNER},
    "devices/<uuid:device_id>/commands": {"GET": OWNER, "POST": OWNER},
    "devices/<uuid:device_id>/commands/<uuid:command_id>": {
        "GET": OWNER_AND_DEVICE,
        "PATCH": OWNER_AND_DEVICE,
    },
    "devices/<uuid:device_id>/commands/<uuid:command_id>/cancel": {"POST": OWNER},
    "devices/<uuid:device_id>/commands/<uuid:command_id>/retry": {"POST": OWNER},
    "devices/<uuid:device_id>/command-types": {"GET": OWNER},
    "command-batches": {"GET": USERS, "POST": USERS},
    "command-batches/<uuid:batch_id>": {"GET": ISSUER},
    "command-batches/<uuid:batch_id>/commands": {"GET": ISSUER},
    "command-batches/<uuid:batch_id>/cancel": {"POST": ISSUER},
}
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
CALLS = [
    (route, method, who) for route, allowed in ROUTES.items() for method, who in allowed.items()
]
CLOSED = [call for call in CALLS if call[2] != PUBLIC]
OWNED = [call[:2] for call in CALLS if call[2] in (OWNER, OWNER_AND_DEVICE)]


def routes():
    (root,) = [one for one in get_resolver().url_patterns if str(one.pattern) == API.lstrip("/")]
    return {str(one.pattern): one for one in root.url_patterns}


@pytest.fixture
def path(device, settings, tmp_path):
    """Return the path of a route with the ids of the owner's objects."""
    settings.DATA_EXPORT_DIR = tmp_path
    data_exports.request_export(device.user, now=timezone.now())
    data_export.build_pending()
    things = {
        "device_id": device.pk,
        "token_id": device_token_and_row(device)[0].pk,
        "reading_id": store_reading(device).pk,
        "command_id": CommandFactory.create(device=device).pk,
        "key": register_key(device),
        "batch_id": issue_batch(device).pk,
        "session_id": create_session(device.user).pk,
    }
    own_token = user_token_and_row(device.user)[0].pk

    def path(route, **others):
        given = {**things, **others}
        if route.startswith("tokens/"):
            given["token_id"] = own_token
        return API + re.sub(r"<\w+:(\w+)>", lambda match: str(given[match[1]]), route)

    return path


def test_every_route_is_listed_here():
    assert set(routes()) == set(ROUTES)


def test_every_method_of_a_route_is_listed_here():
    for route, allowed in ROUTES.items():
        view = routes()[route].callback.view_class
        has = {method for method in METHODS if hasattr(view, method.lower())}
        assert has == set(allowed), route


@contextmanager
def rolled_back():
    """Roll back everything done in this context."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def test_a_deleted_device_is_404_for_its_owner(path, device, owner_api):
    owner_api.delete(f"/api/v1/devices/{device.pk}")
    for route, method in OWNED:
        read_problem(owner_api.send(method, path(route)), 404)


def test_another_device_of_the_owner_gets_403_or_404(path, device):
    another = Api(device_token(DeviceFactory.create(user=device.user)))
    for route, method, who in CLOSED:
        with rolled_back():
            answer = another.send(method, path(route))
        if who == OWNER_AND_DEVICE or ("command_id" in route and who == DEVICES):
            read_problem(answer, 404)
        elif who != DEVICES:
            read_problem(answer, 403)


def test_another_method_is_405_with_the_allowed_methods(path, owner_api, device_api):
    for route, method in product(ROUTES, METHODS):
        if method not in ROUTES[route]:
            api = device_api if set(ROUTES[route].values()) == {DEVICES} else owner_api
            answer = api.send(method, path(route))
            read_problem(answer, 405)
            assert set(ROUTES[route]) <= set(answer["Allow"].split(", ")), (method, route)


@pytest.mark.parametrize("method", ["OPTIONS", "HEAD", "TRACE", "PROPFIND"])
def test_no_method_causes_a_server_error(path, owner_api, device_api, method):
    for route, api in product(ROUTES, (owner_api, device_api, Api())):
        with rolled_back():
            answer = api.send(method, path(route))
        close(answer)
        assert answer.status_code < 500, route


def test_a_trailing_slash_does_not_change_the_status(path, owner_api, anonymous_api):
    for route, api in product(ROUTES, (owner_api, anonymous_api)):
        for method in ROUTES[route].keys() - {"DELETE", "POST"}:
            with rolled_back():
                plain = api.send(method, path(route))
                if plain.streaming:
                    plain.getvalue()
            close(plain)
            with rolled_back():
                slashed = api.send(method, path(route) + "/")
            close(slashed)
            assert slashed.status_code == plain.status_code, (method, route)


def test_a_trailing_slash_keeps_the_body(owner, owner_api, device_api):
    assert owner_api.post("/api/v1/devices/", {"name": "x"}).status_code == 201
    assert owner.devices.filter(name="x").exists()
    reading = {"telemetry_type": "a", "payload": {"a": 1}}
    assert device_api.post("/api/v1/device/telemetry//", reading).status_code == 201


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1",
        "/api/v1/",
        "/api/v1/nothing",
        "/api/v2/devices",
        "/api/",
        "/api/v1/devices/1",
        "/api/v1/devices/{{{}}}",
        "/api/v1/devices/urn:uuid:{}",
        "/api/v1/devices/%00",
        "/api/v1/devices/../devices",
        "/api/v1/devices/{}/nothing",
        "/api/v1/DEVICES",
    ],
)
def test_an_unknown_route_is_404(device, owner_api, anonymous_api, path):
    for api in (owner_api, anonymous_api):
        read_problem(api.get(path.format(device.pk)), 404)


def test_an_id_is_accepted_in_canonical_form_only(device, owner_api):
    assert owner_api.get(f"/api/v1/devices/{device.pk}").status_code == 200
    read_problem(owner_api.get(f"/api/v1/devices/{str(device.pk).upper()}x"), 404)
    read_problem(owner_api.get(f"/api/v1/devices/{device.pk.hex}"), 404)


@pytest.mark.parametrize("accept", ["text/html", "application/xml", "*/*", "", "garbage"])
def test_the_response_is_json_for_every_accept_header(owner_api, accept):
    answer = owner_api.get("/api/v1/devices", Accept=accept)
    assert answer.status_code == 200
    assert answer["Content-Type"] == "application/json"


@pytest.mark.parametrize("query", [{"format": "xml"}, {"format": "api"}])
def test_another_format_is_422(owner_api, query):
    read_problem(owner_api.get("/api/v1/devices", query), 422)


def test_the_schema_describes_every_route(anonymous_api):
    schema = anonymous_api.get("/api/v1/schema").json()
    described = {
        path.removeprefix(API): {
            method.upper() for method in operations if method.upper() in METHODS
        }
        for path, operations in schema["paths"].items()
    }
    assert described == {
        re.sub(r"<\w+:(\w+)>", r"{\1}", route): set(methods)
        for route, methods in ROUTES.items()
        if route != "schema"
    }


# The security schemes of each kind of client.
WAYS = {
    PUBLIC: set(),
    USERS: {"userToken", "cookieAuth"},
    DEVICES: {"deviceToken"},
    OWNER: {"userToken", "cookieAuth"},
    OWNER_AND_DEVICE: {"userToken", "cookieAuth", "deviceToken"},
    ISSUER: {"userToken", "cookieAuth"},
}


@pytest.fixture
def schema(anonymous_api):
    return anonymous_api.get("/api/v1/schema").json()


def test_the_schema_describes_who_has_access(schema):
    described = {
        (path.removeprefix(API), method.upper()): {
            way for ways in operation.get("security", []) for way in ways
        }
        for path, operations in schema["paths"].items()
        for method, operation in operations.items()
    }
    assert described == {
        (re.sub(r"<\w+:(\w+)>", r"{\1}", route), method): WAYS[who]
        for route, methods in ROUTES.items()
        for method, who in methods.items()
        if route != "schema"
    }


def test_the_schema_describes_lists_as_pages(schema, owner_api, device):
    for route in ("devices", "tokens", "sessions", "audit", "command-batches"):
        answers = schema["paths"][API + route]["get"]["responses"]
        name = answers["200"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        assert set(schema["components"]["schemas"][name]["properties"]) == {"results", "next"}
        assert set(owner_api.get(API + route).json()) == {"results", "next"}


def test_the_schema_forbids_unknown_fields(schema):
    for name, component in schema["components"]["schemas"].items():
        # A choice of others: it has no fields of its own.
        if name.endswith("Request") and name != "ReadingsRequest":
            assert component["additionalProperties"] is False, name
