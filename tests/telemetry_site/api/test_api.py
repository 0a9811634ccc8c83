"""What holds of every route of the API; who gets where is in test_matrix."""

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
    device_token,
    device_token_and_row,
    register_key,
    send_to_many,
    session_of,
    store_reading,
    user_token_and_row,
)
from tests.problems import told

API = "/api/v1/"

# What each route answers to whom. A route that is not here fails the first test below: say what
# it lets in before it goes out.
ANYBODY, USERS, DEVICES, OWNER, OWNER_AND_DEVICE, ISSUER = (
    "anybody", "any user", "any device", "the device's owner", "the owner and the device",
    "who sent it",
)  # fmt: skip
ROUTES = {
    "auth/login": {"POST": ANYBODY},
    "auth/logout": {"POST": USERS},
    "auth/register": {"POST": ANYBODY},
    "auth/verify-email": {"POST": ANYBODY},
    "auth/verify-email/resend": {"POST": ANYBODY},
    "auth/password-reset": {"POST": ANYBODY},
    "auth/password-reset/confirm": {"POST": ANYBODY},
    "auth/password": {"POST": USERS},
    "auth/address/resend": {"POST": USERS},
    "auth/join": {"POST": ANYBODY},
    "invitations": {"POST": USERS},
    "users/me": {"GET": USERS, "PATCH": USERS, "DELETE": USERS},
    "tokens": {"GET": USERS, "POST": USERS},
    "tokens/<uuid:token_id>": {"DELETE": USERS},
    "sessions": {"GET": USERS},
    "sessions/<uuid:session_id>": {"DELETE": USERS},
    "audit": {"GET": USERS},
    "users/me/archive": {"GET": USERS, "POST": USERS},
    "users/me/archive/file": {"GET": USERS},
    "schema": {"GET": ANYBODY},
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
CLOSED = [call for call in CALLS if call[2] != ANYBODY]
OWNED = [call[:2] for call in CALLS if call[2] in (OWNER, OWNER_AND_DEVICE)]


def routes():
    (root,) = [one for one in get_resolver().url_patterns if str(one.pattern) == API.lstrip("/")]
    return {str(one.pattern): one for one in root.url_patterns}


@pytest.fixture
def path(device, settings, tmp_path):
    """The path of a route, for the owner's device and what is its."""
    settings.DATA_EXPORT_DIR = tmp_path
    data_exports.request_export(device.user, now=timezone.now())
    data_export.build_pending()
    things = {
        "device_id": device.pk,
        "token_id": device_token_and_row(device)[0].pk,
        "reading_id": store_reading(device).pk,
        "command_id": CommandFactory.create(device=device).pk,
        "key": register_key(device),
        "batch_id": send_to_many(device).pk,
        "session_id": session_of(device.user).pk,
    }
    own_token = user_token_and_row(device.user)[0].pk

    def path(route, **others):
        given = {**things, **others}
        if route.startswith("tokens/"):
            given["token_id"] = own_token
        return API + re.sub(r"<\w+:(\w+)>", lambda match: str(given[match[1]]), route)

    return path


def test_every_route_is_known_here():
    assert set(routes()) == set(ROUTES)


def test_every_method_of_a_route_is_known_here():
    for route, allowed in ROUTES.items():
        view = routes()[route].callback.view_class
        has = {method for method in METHODS if hasattr(view, method.lower())}
        assert has == set(allowed), route


@contextmanager
def undone():
    """What is done in here is taken back."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def test_to_its_owner_a_deleted_device_is_as_if_never_there(path, device, owner_api):
    owner_api.delete(f"/api/v1/devices/{device.pk}")
    for route, method in OWNED:
        told(owner_api.send(method, path(route)), 404)


def test_another_device_of_the_owners_gets_nowhere(path, device):
    another = Api(device_token(DeviceFactory.create(user=device.user)))
    for route, method, who in CLOSED:
        with undone():
            answer = another.send(method, path(route))
        if who == OWNER_AND_DEVICE or ("command_id" in route and who == DEVICES):
            told(answer, 404)
        elif who != DEVICES:
            told(answer, 403)


def test_any_other_method_is_405_with_those_there_are(path, owner_api, device_api):
    for route, method in product(ROUTES, METHODS):
        if method not in ROUTES[route]:
            api = device_api if set(ROUTES[route].values()) == {DEVICES} else owner_api
            answer = api.send(method, path(route))
            told(answer, 405)
            assert set(ROUTES[route]) <= set(answer["Allow"].split(", ")), (method, route)


@pytest.mark.parametrize("method", ["OPTIONS", "HEAD", "TRACE", "PROPFIND"])
def test_no_method_at_all_is_a_fault_of_ours(path, owner_api, device_api, method):
    for route, api in product(ROUTES, (owner_api, device_api, Api())):
        with undone():
            answer = api.send(method, path(route))
        close(answer)
        assert answer.status_code < 500, route


def test_a_trailing_slash_makes_no_difference(path, owner_api, anonymous_api):
    for route, api in product(ROUTES, (owner_api, anonymous_api)):
        for method in ROUTES[route].keys() - {"DELETE", "POST"}:
            with undone():
                plain = api.send(method, path(route))
                if plain.streaming:
                    plain.getvalue()
            close(plain)
            with undone():
                slashed = api.send(method, path(route) + "/")
            close(slashed)
            assert slashed.status_code == plain.status_code, (method, route)


def test_a_trailing_slash_does_not_lose_the_body(owner, owner_api, device_api):
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
def test_a_route_that_is_not_there_is_404(device, owner_api, anonymous_api, path):
    for api in (owner_api, anonymous_api):
        told(api.get(path.format(device.pk)), 404)


def test_an_id_may_be_written_as_it_is_shown_and_no_other_way(device, owner_api):
    assert owner_api.get(f"/api/v1/devices/{device.pk}").status_code == 200
    told(owner_api.get(f"/api/v1/devices/{str(device.pk).upper()}x"), 404)
    told(owner_api.get(f"/api/v1/devices/{device.pk.hex}"), 404)


@pytest.mark.parametrize("accept", ["text/html", "application/xml", "*/*", "", "garbage"])
def test_the_answer_is_json_whatever_is_accepted(owner_api, accept):
    answer = owner_api.get("/api/v1/devices", Accept=accept)
    assert answer.status_code == 200
    assert answer["Content-Type"] == "application/json"


@pytest.mark.parametrize("query", [{"format": "xml"}, {"format": "api"}])
def test_no_other_format_can_be_asked_for(owner_api, query):
    told(owner_api.get("/api/v1/devices", query), 422)


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


# Who may, by the ways to say who one is.
WAYS = {
    ANYBODY: set(),
    USERS: {"userToken", "cookieAuth"},
    DEVICES: {"deviceToken"},
    OWNER: {"userToken", "cookieAuth"},
    OWNER_AND_DEVICE: {"userToken", "cookieAuth", "deviceToken"},
    ISSUER: {"userToken", "cookieAuth"},
}


@pytest.fixture
def schema(anonymous_api):
    return anonymous_api.get("/api/v1/schema").json()


def test_the_schema_says_who_may(schema):
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


def test_the_schema_says_that_lists_have_pages(schema, owner_api, device):
    for route in ("devices", "tokens", "sessions", "audit", "command-batches"):
        answers = schema["paths"][API + route]["get"]["responses"]
        name = answers["200"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        assert set(schema["components"]["schemas"][name]["properties"]) == {"results", "next"}
        assert set(owner_api.get(API + route).json()) == {"results", "next"}


def test_the_schema_says_that_no_field_may_be_unknown(schema):
    for name, component in schema["components"]["schemas"].items():
        if name.endswith("BodyRequest"):
            assert component["additionalProperties"] is False, name
