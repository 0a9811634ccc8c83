"""What became of the readings of a request, for those who count: the answer itself carries it."""

from collections.abc import Iterable
from typing import NamedTuple

from django.http import HttpResponse

from devices import refusals
from devices.free_json import Fault


class Outcome(NamedTuple):
    """How many readings were stored, were there already, were refused; and what for, where the
    answer is a success all the same.
    """

    accepted: int
    duplicates: int
    rejected: int
    reasons: list[refusals.Reason]


def attach(
    response: HttpResponse,
    *,
    accepted: int,
    duplicates: int,
    rejected: int = 0,
    faults: Iterable[Fault] = (),
) -> None:
    """Let `of` find it on the answer."""
    why = refusals.reasons(faults)
    response.outcome = Outcome(accepted, duplicates, rejected, why)  # type: ignore[attr-defined]


def of(response: HttpResponse) -> Outcome | None:
    """What was attached, if the request brought readings."""
    return getattr(response, "outcome", None)
