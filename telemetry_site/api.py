"""What all of the API has in common: its errors, its pages, its one format."""

import math
import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

from django.core.exceptions import NON_FIELD_ERRORS, ObjectDoesNotExist, PermissionDenied
from django.core.exceptions import ValidationError as ModelValidationError
from django.db import OperationalError
from django.http import Http404, HttpResponse
from rest_framework import exceptions, pagination
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import archives, closing, emails, passwords, signup, tokens
from accounts.hashers import TooManyHashes
from accounts.quotas import DiskFull, QuotaReached
from accounts.throttles import TooManyTries
from commands import batches, lifecycle
from devices import enrolment, free_json, idempotency, times
from devices.bodies import BodyTooLarge
from devices.free_json import Fault, pointer
from telemetry import bodies, export, history, ingest, readings
from telemetry_site.errors import DATABASE_AWAY, NOT_FOUND, problem
from telemetry_site.errors import refusal as refusal_of

# Domain errors and their answers: class, status, code, sentence.
DOMAIN_ERRORS: list[tuple[type[Exception], int, str, str]] = [
    (
        signup.RegistrationClosed,
        403,
        "registration-closed",
        "Here nobody can register by themselves.",
    ),
    (emails.NothingToProve, 409, "nothing-to-prove", "Your address is confirmed already."),
    (passwords.WrongPassword, 403, "wrong-password", "This is not your password."),
    (
        closing.LastAdministrator,
        409,
        "last-administrator",
        "Make somebody else an administrator first.",
    ),
    (enrolment.TooManyTokens, 409, "too-many-tokens", "Revoke one of the device's tokens first."),
    (ingest.DeviceGone, 404, "", NOT_FOUND),
    (bodies.TooManyReadings, 413, "too-many-readings", "Too many readings in one request."),
    (
        idempotency.IdempotencyKeyReused,
        422,
        "idempotency-key-reused",
        "This Idempotency-Key came with another body before.",
    ),
    (
        idempotency.InvalidIdempotencyKey,
        400,
        "invalid-idempotency-key",
        "An Idempotency-Key is 1 to 255 printable ASCII characters.",
    ),
    (export.TooLarge, 422, "export-too-large", "Choose a shorter range: the file is too large."),
    (lifecycle.QueueFull, 409, "queue-full", "Too many commands wait for this device."),
    (lifecycle.AlreadyFinished, 409, "already-finished", "This command has another result."),
    (lifecycle.StillPending, 409, "still-pending", "This command has not ended yet."),
    (batches.NoDevices, 422, "no-devices", "No device of yours is chosen by this."),
    (
        batches.TooManyDevices,
        422,
        "too-many-devices",
        f"A batch is for {batches.DEVICES_LIMIT} devices at the most.",
    ),
]


def problem_response(exc: Exception, context: dict[str, Any]) -> HttpResponse | None:
    """Every exception a view of the API may raise, as a problem document.

    None for what nobody foresaw: Django logs it and answers 500.
    """
    request = context["request"]._request
    match exc:
        case ObjectDoesNotExist() | Http404() | exceptions.NotFound():
            return problem(request, 404, detail=NOT_FOUND)
        case free_json.InvalidJSON() | readings.InvalidReadings():
            return problem(request, 422, detail="Some values are invalid.", faults=exc.faults)
        case free_json.NotJSON():
            return problem(request, 400, detail=str(exc))
        case BodyTooLarge():
            return problem(request, 413, detail=str(exc))
        case ModelValidationError():
            return problem(request, 422, detail="Some values are invalid.", faults=_of_model(exc))
        case exceptions.ValidationError():
            faults = list(_of_serializer(exc.get_full_details()))
            return problem(request, 422, detail="Some values are invalid.", faults=faults)
        case history.InvalidCursor():
            faults = [Fault("/cursor", "invalid", "Not one of our cursors.")]
            return problem(request, 422, detail="Some values are invalid.", faults=faults)
        case tokens.TokenRefused():
            faults = [Fault("/token", "refused", "It was used already, or it has expired.")]
            return problem(request, 422, detail="Some values are invalid.", faults=faults)
        case batches.NoneTaken():
            detail = "None of the devices takes this."
            return problem(request, 422, detail=detail, faults=list(_of_batch(exc)))
        case archives.TooManyArchives(retry_after=seconds):
            detail = "You have an archive of the last day; one is made per day."
            headers = {"Retry-After": str(seconds)}
            return problem(request, 429, code="limit:archive", detail=detail, headers=headers)
        case TooManyTries() | TooManyHashes() | QuotaReached() | DiskFull():
            return refusal_of(request, exc)
        case PermissionDenied():
            return problem(request, 403)
        case OperationalError():
            return problem(request, 503, detail=DATABASE_AWAY, headers={"Retry-After": "1"})
        case exceptions.APIException():
            return _of_framework(request, exc)
    for kind, status, code, detail in DOMAIN_ERRORS:
        if isinstance(exc, kind):
            return problem(request, status, code=code, detail=detail)
    return None


def _of_framework(request: Any, exc: exceptions.APIException) -> HttpResponse:
    headers = {}
    if challenge := getattr(exc, "auth_header", None):
        headers["WWW-Authenticate"] = challenge
    if (wait := getattr(exc, "wait", None)) is not None:
        headers["Retry-After"] = str(math.ceil(wait))
    code = getattr(exc, "problem", "")
    return problem(request, exc.status_code, code=code, detail=str(exc.detail), headers=headers)


def _of_model(exc: ModelValidationError) -> list[Fault]:
    if not hasattr(exc, "error_dict"):
        return [Fault("", "invalid", message) for message in exc.messages]
    return [
        Fault("" if field == NON_FIELD_ERRORS else pointer(field), error.code or "invalid", message)
        for field, errors in exc.error_dict.items()
        for error in errors
        for message in error.messages
    ]


def _of_batch(exc: batches.NoneTaken) -> Iterator[Fault]:
    """Why none of the devices takes a command; what is wrong with the payload only once."""
    told = set()
    for refusal in exc.refused:
        for fault in refusal["errors"]:
            if (told_of := Fault(**fault)) not in told:
                told.add(told_of)
                yield told_of
        if not refusal["errors"]:
            yield Fault(
                pointer("devices", refusal["device_id"]), refusal["code"], refusal["detail"]
            )


def _of_serializer(details: Any, at: str = "") -> Iterator[Fault]:
    """A serializer's nested errors as a flat list with pointers."""
    if isinstance(details, dict) and set(details) == {"message", "code"}:
        yield Fault(at, str(details["code"]), str(details["message"]))
    elif isinstance(details, dict):
        for key, inner in details.items():
            yield from _of_serializer(inner, at if key == "non_field_errors" else at + pointer(key))
    else:
        for index, inner in enumerate(details):
            leaf = set(inner) == {"message", "code"}
            yield from _of_serializer(inner, at if leaf else f"{at}/{index}")


LIMIT = re.compile(r"[0-9]{1,4}", re.ASCII)
"""What `limit` may look like; what looks otherwise need not be read as a number."""


class AlwaysJSON(BaseContentNegotiation):
    """The API has one format, whatever the Accept header says."""

    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> BaseParser | None:
        kind = (request.content_type or "").partition(";")[0].strip().lower()
        return next((parser for parser in parsers if parser.media_type == kind), None)

    def select_renderer(
        self,
        request: Request,
        renderers: Iterable[BaseRenderer],
        format_suffix: str | None = None,
    ) -> tuple[BaseRenderer, str]:
        renderer = next(iter(renderers))
        return renderer, renderer.media_type or ""


class KeysetPagination(pagination.CursorPagination):
    """`limit` (1 to 1000, default 100) and an opaque `cursor`; equally fast at any depth."""

    page_size = 100
    max_page_size = 1000
    ordering = ("-created_at", "-id")

    def get_page_size(self, request: Request) -> int:
        text = request.query_params.get("limit", str(self.page_size))
        if not (LIMIT.fullmatch(text) and 1 <= int(text) <= self.max_page_size):
            raise exceptions.ValidationError({"limit": [f"From 1 to {self.max_page_size}."]})
        return int(text)

    def decode_cursor(self, request: Request) -> pagination.Cursor | None:
        try:
            cursor = super().decode_cursor(request)
        except exceptions.NotFound:
            cursor = pagination.Cursor(offset=0, reverse=False, position=None)
        # What says nothing would be the first page again, and a reader of all pages never done.
        if cursor is not None and cursor.position is None and not cursor.offset:
            raise exceptions.ValidationError({"cursor": ["Not one of our cursors."]})
        if cursor is not None and cursor.position is not None:
            try:
                position = str(times.parse(cursor.position))
                cursor = pagination.Cursor(cursor.offset, cursor.reverse, position)  # type: ignore[arg-type]
            except times.NotATime:
                raise exceptions.ValidationError({"cursor": ["Not one of our cursors."]}) from None
        return cursor

    def encode_cursor(self, cursor: pagination.Cursor) -> str:
        link = super().encode_cursor(cursor)
        return parse_qs(urlsplit(link).query)[self.cursor_query_param][0]

    def get_paginated_response(self, data: Any) -> Response:
        return Response({"results": data, "next": self.get_next_link()})

    def get_schema_operation_parameters(self, view: object) -> list[dict[str, Any]]:
        limit = {"type": "integer", "minimum": 1, "maximum": self.max_page_size}
        return [
            {"name": "limit", "in": "query", "schema": {**limit, "default": self.page_size}},
            {"name": "cursor", "in": "query", "schema": {"type": "string"}},
        ]

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": "object",
            "required": ["results", "next"],
            "properties": {
                "results": schema,
                "next": {"type": "string", "nullable": True, "description": "Cursor."},
            },
        }
