"""What became of the readings of a request, for those who count: the answer itself carries it."""

from collections.abc import Iterable
from typing import NamedTuple

from django.http import HttpResponse

from common.strict_json import JSONError
from devices import rejections


class IngestOutcome(NamedTuple):
    """How many readings were stored, were there already, were refused; and what for, where the
    answer is a success all the same.
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
    """Let `of` find it on the answer."""
    why = rejections.group_errors(faults)
    response.outcome = IngestOutcome(accepted, duplicates, rejected, why)  # type: ignore[attr-defined]


def get_outcome(response: HttpResponse) -> IngestOutcome | None:
    """What was attached, if the request brought readings."""
    return getattr(response, "outcome", None)
