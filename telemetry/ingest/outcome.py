"""The result of an ingest request, attached to the response for metrics and the rejection log."""

from collections.abc import Iterable
from typing import NamedTuple

from django.http import HttpResponse

from common.strict_json import JSONError
from devices import rejections


class IngestOutcome(NamedTuple):
    """Counts of stored, duplicate and rejected readings.

    `reasons` has the reasons for rejected readings of a request that succeeded for others.
    """

    accepted: int
    duplicates: int
    rejected: int
    reasons: list[rejections.RejectionReason]


def attach_outcome(
    response: HttpResponse,
    *,
    accepted: int,
    duplicates: int,
    rejected: int = 0,
    faults: Iterable[JSONError] = (),
) -> None:
    """Attach the outcome to the response; `get_outcome` reads it."""
    reasons = rejections.group_errors(faults)
    response.outcome = IngestOutcome(accepted, duplicates, rejected, reasons)  # type: ignore[attr-defined]


def get_outcome(response: HttpResponse) -> IngestOutcome | None:
    """Return the attached outcome, or None if the request stored no readings."""
    return getattr(response, "outcome", None)
