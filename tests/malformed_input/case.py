"""What a case of bad input is."""

from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

from tests.malformed_input.endpoints import Endpoint
from tests.malformed_input.http_client import Request


class Fate(Enum):
    """What may become of it. A 5xx never, and what is refused is a problem document."""

    REFUSED = "refused, and nothing changes"
    EITHER = "good or refused: the endpoint may have no use for what is bad in it"
    NO_HTTP = "refused or the connection closed, by the server, before the site is asked"


class Case(NamedTuple):
    name: str
    make: Callable[[Endpoint, Request], Request | None]
    """Of a good request a bad one; None where this endpoint has nothing to make it of."""
    fate: Fate = Fate.REFUSED
    status: int = 0
    """Where only one is right."""
    is_half: bool = False
    """The rest never comes."""
