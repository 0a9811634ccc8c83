"""For any query or form, a list of the admin returns the list or a redirect to it, and reveals
nothing that the list does not show.
"""

import base64
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import ForeignObjectRel, Model
from django.test import Client, RequestFactory

from accounts.models import User
from commands.models import Command
from devices.models import Device
from tests.factories import CommandFactory, device_token, store_reading, user_token

pytestmark = [pytest.mark.django_db, pytest.mark.unmeasured]

MODELS = sorted(admin.site._registry, key=lambda model: model._meta.label)
each_model = pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)

NUL = "a\0"
VALUES = ["", "zzz", "1", "True", "9" * 30, "1e999", NUL, "0001-01-01", "a'\"\\%(", "ü\U0001f321"]
"""Invalid values for most columns."""
TEXTS = [*VALUES, "-1", "1.2.-3.zzz", "9" * 5000, "x" * 6000, "x " * 1500]
ID = "00000000-0000-0000-0000-000000000000"
PLACES: list[Any] = [
    None,
    ["older"],
    ["older", "9" * 4000],
    ["newer", "-1"],
    ["older", NUL, NUL],
    ["older", "0001-01-01T00:00:00+23:59", ID],
    ["newer", "9999-12-31T23:59:59-23:59", ID],
    [[], {}],
]
"""Cursors of pages."""
OWN = ("all", "e", "_facets", "_popup", "_to_field", "_changelist_filters", "", "pk", "zzz")
"""Query parameters of every list, and some that do not exist."""
ENDS = ("", "__exact", "__isnull", "__id__exact", "__in", "__regex")
SPECIAL = {
    "/admin/": ["e"],
    "/admin/devices/": ["e"],
    "/admin/autocomplete/": ["app_label", "model_name", "field_name", "term", "page"],
    "/admin/jsi18n/": ["language"],
    "/admin/devices/device/purging/": ["p", "q"],
    "/admin/devices/device/{device}/series/": ["type", "key", "range", "from", "to", "points"],
    "/admin/devices/device/{device}/charts/": ["type", "key", "range", "from", "to", "shown"],
    "/admin/devices/device/{device}/change/": ["range", "from", "to", "_popup", "_to_field"],
    "/admin/commands/command/add/": ["device", "command_name", "payload", "_to_field", "_popup"],
    "/admin/telemetry/telemetry/": ["device", "type", "turn", "cursor"],
}
"""Pages that are not the list of a table, with their query parameters."""
GOOD = {
    "/admin/autocomplete/": {"app_label": "devices", "model_name": "device", "field_name": "user"},
    "/admin/telemetry/telemetry/": {"turn": "newer"},
}
"""Parameters that a page needs before it reads the invalid one."""


@pytest.fixture
def prober(staff_client: Client, device: Device) -> Client:
    CommandFactory.create(device=device)
    store_reading(device)
    user_token(device.user)
    device_token(device)
    staff_client.raise_request_exception = False
    return staff_client


def list_of(model: type[Model]) -> str:
    return f"/admin/{model._meta.app_label}/{model._meta.model_name}/"


def places() -> Iterator[str]:
    for place in PLACES:
        yield base64.urlsafe_b64encode(json.dumps(place).encode()).decode()
    yield base64.urlsafe_b64encode(b"[" * 5000).decode()


def filters_of(model: type[Model]) -> Iterator[str]:
    """Return the parameters of a list's filters, and some that look like them."""
    for one in admin.site._registry[model].list_filter:
        if isinstance(one, type):
            yield str(one.parameter_name)
        else:
            yield from (f"{one[0] if isinstance(one, tuple) else one}{end}" for end in ENDS)


def queries(model: type[Model]) -> Iterator[tuple[str, str]]:
    for name in ("q", "o", "p"):
        yield from ((name, value) for value in (*TEXTS, *places()))
    for name in (*filters_of(model), "target_id"):
        yield from ((name, value) for value in VALUES)
    for name in OWN:
        yield from ((name, value) for value in ("", "zzz", "1", NUL))


def wrong(client: Client, path: str, query: dict[str, str]) -> str | None:
    """Return what is wrong with a response, or None."""
    answer = client.get(f"{path}?{urlencode(query)}")
    allowed = (400,) if any("\0" in value for value in query.values()) else (200, 302)
    return None if answer.status_code in allowed else f"{query} gets {answer.status_code}"


@each_model
def test_a_list_with_any_query_is_no_server_error(prober: Client, model: type[Model]) -> None:
    path = list_of(model)
    found = [wrong(prober, path, {name: value}) for name, value in queries(model)]
    found += [wrong(prober, path, {name: "zzz", "e": "1"}) for name in filters_of(model)]
    assert not list(filter(None, found))


@each_model
def test_an_action_with_an_invalid_id_is_no_server_error(
    prober: Client, model: type[Model]
) -> None:
    wrong = []
    for action in (*(admin.site._registry[model].actions or ()), "delete_selected", "zzz"):
        for value in ("zzz", "9" * 30, NUL):
            for index in ("0", "9" * 30):
                body = {"action": action, "_selected_action": value, "index": index}
                status = prober.post(list_of(model), {**body, "confirmed": "yes"}).status_code
                if status >= 500:
                    wrong.append(f"{body} gets {status}")
    assert not wrong


@each_model
def test_a_list_cannot_be_filtered_by_a_column_that_its_filters_do_not_offer(
    staff: User, model: type[Model]
) -> None:
    model_admin = admin.site._registry[model]
    taken = []
    for lookup in (*lookups(model), "token_hash", "user__password__startswith"):
        for value in ("", "1"):
            request = RequestFactory().get("/", {lookup: value})
            request.user = staff
            try:
                model_admin.get_changelist_instance(request)
            except IncorrectLookupParameters:
                continue
            taken.append(lookup)
    assert not set(taken) - offered(model)


def lookups(model: type[Model]) -> Iterator[str]:
    """Return lookups of every column of the table and of its related tables."""
    for field in model._meta.get_fields():
        yield from (f"{field.name}{end}" for end in ("", "__exact", "__startswith", "__gte"))
        if field.related_model:
            for other in field.related_model._meta.get_fields():
                if not isinstance(other, ForeignObjectRel):
                    yield from (f"{field.name}__{other.name}{end}" for end in ("", "__startswith"))


def offered(model: type[Model]) -> set[str]:
    """Return the parameters in links of a list's filters, and in links to it from other pages."""
    request = RequestFactory().get("/")
    request.user = User(is_staff=True, is_superuser=True)
    changes = admin.site._registry[model].get_changelist_instance(request)
    known = {name for one in changes.filter_specs for name in one.expected_parameters()}
    return known | ({"target_id"} if model._meta.label == "accounts.AuditEvent" else set())


@pytest.mark.parametrize("path", SPECIAL)
def test_another_page_with_any_query_is_no_server_error(
    prober: Client, device: Device, path: str
) -> None:
    wrong = []
    for name in SPECIAL[path]:
        for value in (*VALUES, "9" * 5000, *places()):
            query = urlencode({**GOOD.get(path, {}), name: value})
            answer = prober.get(f"{path.format(device=device.pk)}?{query}")
            if answer.status_code >= 500:
                wrong.append(f"{query} gets {answer.status_code}")
    assert not wrong


@each_model
def test_a_page_of_a_row_with_any_query_is_no_server_error(
    prober: Client, model: type[Model]
) -> None:
    row = model._default_manager.first()
    wrong = []
    for key in ("zzz", "1", ID, "9" * 30, *([row.pk] if row else [])):
        for end in ("change/", "delete/", "history/"):
            for query in ("", "?_to_field=", "?_to_field=zzz"):
                path = f"{list_of(model)}{key}/{end}{query}"
                if (status := prober.get(path).status_code) >= 500:
                    wrong.append(f"{path} gets {status}")
    assert not wrong


def test_an_unknown_filter_shows_the_whole_list_with_a_message(prober: Client) -> None:
    for query in ("user__password__startswith=a", "status__exact=zzz&e=1"):
        answer = prober.get(f"{list_of(Command)}?{query}", follow=True)
        assert answer.redirect_chain == [(f"{list_of(Command)}?e=1", 302)]
        assert "The URL has an unknown filter or value." in answer.text
        assert answer.context["cl"].result_count == 1
