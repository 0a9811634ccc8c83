"""A case of malformed input."""

from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

from tests.malformed_input.endpoints import Endpoint
from tests.malformed_input.http_client import Request


class Outcome(Enum):
    """The allowed outcomes. A 5xx is never allowed; a rejection is a problem document."""

    REFUSED = "refused, and nothing changes"
    EITHER = "good or refused: the endpoint may have no use for what is bad in it"
    NO_HTTP = "refused or the connection closed, by the server, before the site is asked"


class Case(NamedTuple):
    name: str
    make: Callable[[Endpoint, Request], Request | None]
    """Return a malformed request made of a valid one, or None if the case does not fit the
    endpoint.
    """
    outcome: Outcome = Outcome.REFUSED
    status: int = 0
    """The only correct status, if there is only one."""
    is_half: bool = False
    """The rest of the request is never sent."""
