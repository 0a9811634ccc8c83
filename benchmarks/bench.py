"""What every measurement is given: how long to take, and who speaks to which database."""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from benchmarks import cast, database
from benchmarks.cast import Cast
from benchmarks.rows import Row


@dataclass(frozen=True)
class Bench:
    """Quick, or at full length."""

    full: bool = False
    rounds: int = 3

    @property
    def seconds(self) -> int:
        """How long one server is under load in one round."""
        return 5 if self.full else 2

    @property
    def readings(self) -> int:
        """How many readings go in batches to one server in one round."""
        return 200_000 if self.full else 50_000

    @property
    def stored(self) -> int:
        """How many readings the larger database holds."""
        return 50_000_000 if self.full else 5_000_000

    @cached_property
    def empty_cast(self) -> Cast:
        return self._ready(database.EMPTY)

    @cached_property
    def stored_cast(self) -> Cast:
        return self._ready(database.STORED)

    def _ready(self, name: str) -> Cast:
        database.prepare(name)
        return cast.assemble(name)


Measurement = Callable[[Bench], Iterator[Row]]


def say(line: str) -> None:
    """Tell whoever waits what is going on; the table comes last."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def median(rounds: Sequence[float]) -> float:
    """The middle one, or the lower of the two in the middle."""
    return sorted(rounds)[(len(rounds) - 1) // 2]


def percentile(values: Sequence[float], percent: int) -> float:
    """The smallest of the values that so many percent of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]
