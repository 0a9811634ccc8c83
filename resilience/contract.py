"""What schemathesis checks of each answer beside its own; resilience/schema.py has it loaded."""

from typing import Any

import schemathesis

BEYOND = {
    # No schema can say it: how deep, how much, which numbers and characters.
    *("too-deep", "too-many-values", "too-large", "number-too-large", "nul-character"),
    *("lone-surrogate", "key-too-long", "not-a-number", "duplicate-key"),
    # Nor can it know what there is, or was.
    *("time-out-of-range", "refused", "idempotency-key-reused", "no-devices", "not-allowed"),
    *("unknown-device", "wrong-password", "taken"),
    # Nor that one of two must be given, that spaces are nothing, which passwords are too easy.
    *("required", "blank", "password_too_common", "password_too_short", "password_too_similar"),
}
"""Codes of what fits the schema and is refused all the same."""
PLACES = {
    "/cursor": "it is opaque",
    "/query": "a filter is named after a key of the metadata",
    "/to": "it comes after `from`",
    "/time_zone": "the IANA database has them",
    "/username": "letters of every script are in it, and patterns differ in what they take for one",
}
"""Where anything may be refused, and why."""


@schemathesis.check
def a_refusal_is_a_problem_document(ctx: Any, response: Any, case: Any) -> None:
    """With its status, and a sentence."""
    if response.status_code < 400:
        return
    kind = response.headers.get("content-type", [""])[0]
    assert kind == "application/problem+json", f"{response.status_code} as {kind}"
    told = response.json()
    assert told["status"] == response.status_code, told
    assert told["detail"], told


@schemathesis.check
def what_fits_the_schema_is_refused_only_for_what_is_beyond_it(
    ctx: Any, response: Any, case: Any
) -> None:
    """In place of `positive_data_acceptance`, for which every 422 is the same."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if response.status_code not in (400, 411, 413, 415, 422):
        return
    told = response.json()
    faults = [fault for fault in told["errors"] if fault["pointer"] not in PLACES]
    codes = {fault["code"] for fault in faults}
    if not told["errors"]:
        codes = {told["type"].rpartition(":")[2]}
    assert codes <= BEYOND, f"{response.status_code} {told['detail']} {faults[:3]}"
