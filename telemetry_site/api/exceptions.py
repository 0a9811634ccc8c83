"""Converts exceptions of the API's views into problem documents."""

import math
from collections.abc import Iterator
from typing import Any

from django.core.exceptions import NON_FIELD_ERRORS, ObjectDoesNotExist, PermissionDenied
from django.core.exceptions import ValidationError as ModelValidationError
from django.db import OperationalError
from django.http import Http404, HttpResponse
from rest_framework import exceptions

from accounts.email import verification
from accounts.passwords import services as passwords
from accounts.passwords.hashers import PasswordHashingBusy
from accounts.registration import pending
from accounts.throttling import RateLimitExceeded
from accounts.tokens import services as tokens
from accounts.users import data_exports, deletion
from commands import services as command_services
from commands.batches import services as batches
from common import strict_json
from common.api import idempotency_keys
from common.api.content_encoding import BodyTooLarge
from common.quotas import DiskFull, QuotaReached
from common.strict_json import JSONError, json_pointer
from devices import services as device_services
from telemetry.ingest import decoding, storage, validation
from telemetry.queries import history
from telemetry.transfer import export
from telemetry_site.api.problems import (
    DATABASE_AWAY,
    NOT_FOUND,
    problem_response,
    rate_limit_response,
)

# Application errors and their responses: class, status, code, detail.
DOMAIN_ERRORS: list[tuple[type[Exception], int, str, str]] = [
    (
        pending.RegistrationClosed,
        403,
        "registration-closed",
        "Registration is closed.",
    ),
    (
        verification.AlreadyVerified,
        409,
        "nothing-to-prove",
        "Your e-mail address is already confirmed.",
    ),
    (passwords.WrongPassword, 403, "wrong-password", "Wrong password."),
    (
        deletion.LastSuperuserError,
        409,
        "last-administrator",
        "Make another user an administrator first.",
    ),
    (
        device_services.TooManyTokens,
        409,
        "too-many-tokens",
        "Revoke one of the device's tokens first.",
    ),
    (storage.DeviceDeleted, 404, "", NOT_FOUND),
    (decoding.TooManyReadings, 413, "too-many-readings", "Too many readings in one request."),
    (
        idempotency_keys.IdempotencyKeyReused,
        422,
        "idempotency-key-reused",
        "This Idempotency-Key was used before with another body.",
    ),
    (
        idempotency_keys.InvalidIdempotencyKey,
        400,
        "invalid-idempotency-key",
        "An Idempotency-Key must have 1 to 255 printable ASCII characters.",
    ),
    (
        export.ExportTooLarge,
        422,
        "export-too-large",
        "The file would be too large. Choose a shorter range.",
    ),
    (command_services.QueueFull, 409, "queue-full", "Too many pending commands for this device."),
    (
        command_services.AlreadyFinished,
        409,
        "already-finished",
        "This command already has another result.",
    ),
    (command_services.StillPending, 409, "still-pending", "This command is still pending."),
    (batches.NoDevices, 422, "no-devices", "No device matches."),
    (
        batches.TooManyDevices,
        422,
        "too-many-devices",
        f"A batch can have at most {batches.DEVICES_LIMIT} devices.",
    ),
]


def handle_exception(exc: Exception, context: dict[str, Any]) -> HttpResponse | None:
    """Return the problem document of an exception.

    Return None for an unexpected exception: Django logs it and responds 500.
    """
    request = context["request"]._request
    match exc:
        case ObjectDoesNotExist() | Http404() | exceptions.NotFound():
            return problem_response(request, 404, detail=NOT_FOUND)
        case strict_json.InvalidJSONValue() | validation.InvalidReadings():
            return problem_response(
                request, 422, detail="Some values are invalid.", faults=exc.faults
            )
        case strict_json.JSONSyntaxError():
            return problem_response(request, 400, detail=str(exc))
        case BodyTooLarge():
            return problem_response(request, 413, detail=str(exc))
        case ModelValidationError():
            return problem_response(
                request, 422, detail="Some values are invalid.", faults=_model_errors(exc)
            )
        case exceptions.ValidationError():
            faults = list(_serializer_errors(exc.get_full_details()))
            return problem_response(request, 422, detail="Some values are invalid.", faults=faults)
        case history.InvalidCursor():
            faults = [JSONError("/cursor", "invalid", "Invalid cursor.")]
            return problem_response(request, 422, detail="Some values are invalid.", faults=faults)
        case tokens.InvalidToken():
            faults = [JSONError("/token", "refused", "Already used or expired.")]
            return problem_response(request, 422, detail="Some values are invalid.", faults=faults)
        case batches.AllRejected():
            detail = "None of the devices accepts this command."
            return problem_response(request, 422, detail=detail, faults=list(_batch_errors(exc)))
        case data_exports.TooManyExports(retry_after=seconds):
            detail = "Only one data export per day."
            headers = {"Retry-After": str(seconds)}
            return problem_response(
                request, 429, code="limit:archive", detail=detail, headers=headers
            )
        case RateLimitExceeded() | PasswordHashingBusy() | QuotaReached() | DiskFull():
            return rate_limit_response(request, exc)
        case PermissionDenied():
            return problem_response(request, 403)
        case OperationalError():
            return problem_response(
                request, 503, detail=DATABASE_AWAY, headers={"Retry-After": "1"}
            )
        case exceptions.APIException():
            return _framework_errors(request, exc)
    for kind, status, code, detail in DOMAIN_ERRORS:
        if isinstance(exc, kind):
            return problem_response(request, status, code=code, detail=detail)
    return None


def _framework_errors(request: Any, exc: exceptions.APIException) -> HttpResponse:
    headers = {}
    if challenge := getattr(exc, "auth_header", None):
        headers["WWW-Authenticate"] = challenge
    if (wait := getattr(exc, "wait", None)) is not None:
        headers["Retry-After"] = str(math.ceil(wait))
    code = getattr(exc, "problem", "")
    return problem_response(
        request, exc.status_code, code=code, detail=str(exc.detail), headers=headers
    )


def _model_errors(exc: ModelValidationError) -> list[JSONError]:
    if not hasattr(exc, "error_dict"):
        return [JSONError("", "invalid", message) for message in exc.messages]
    return [
        JSONError(
            "" if field == NON_FIELD_ERRORS else json_pointer(field),
            error.code or "invalid",
            message,
        )
        for field, errors in exc.error_dict.items()
        for error in errors
        for message in error.messages
    ]


def _batch_errors(exc: batches.AllRejected) -> Iterator[JSONError]:
    """Why none of the devices takes a command; what is wrong with the payload only once."""
    told = set()
    for refusal in exc.rejected:
        for fault in refusal["errors"]:
            if (told_of := JSONError(**fault)) not in told:
                told.add(told_of)
                yield told_of
        if not refusal["errors"]:
            yield JSONError(
                json_pointer("devices", refusal["device_id"]), refusal["code"], refusal["detail"]
            )


def _serializer_errors(details: Any, at: str = "") -> Iterator[JSONError]:
    """A serializer's nested errors as a flat list with pointers."""
    if isinstance(details, dict) and set(details) == {"message", "code"}:
        yield JSONError(at, str(details["code"]), str(details["message"]))
    elif isinstance(details, dict):
        for key, inner in details.items():
            yield from _serializer_errors(
                inner, at if key == "non_field_errors" else at + json_pointer(key)
            )
    else:
        for index, inner in enumerate(details):
            leaf = set(inner) == {"message", "code"}
            yield from _serializer_errors(inner, at if leaf else f"{at}/{index}")
