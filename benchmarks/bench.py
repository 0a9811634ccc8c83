"""What every measurement is given: how long to take, and who speaks to which database."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from benchmarks import cast, database, dataset
from benchmarks.cast import Cast
from benchmarks.dataset import Stored
from benchmarks.reading_rows import Row


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
        return 200_000 if self.full else 40_000

    @property
    def small_batches(self) -> list[int]:
        """Sizes of batches that no goal is about, where there is time for them."""
        return [100] if self.full else []

    @property
    def stored(self) -> int:
        """How many readings the larger database holds."""
        return 50_000_000 if self.full else 5_000_000

    @cached_property
    def empty_cast(self) -> Cast:
        return self._ready(database.EMPTY)

    @property
    def large(self) -> str:
        """The name of the larger database; each length has its own."""
        return f"stored_{self.stored // 1_000_000}m"

    @cached_property
    def large_cast(self) -> Cast:
        return self._ready(self.large)

    @cached_property
    def large_stored(self) -> Stored:
        """What the larger database holds; loading it takes a while the first time."""
        assert self.large_cast
        return dataset.load(self.large, self.stored)

    def _ready(self, name: str) -> Cast:
        database.prepare(name)
        return cast.assemble(name)


Measurement = Callable[[Bench], Iterator[Row]]


def median(rounds: Sequence[float]) -> float:
    """The middle one, or the lower of the two in the middle."""
    return sorted(rounds)[(len(rounds) - 1) // 2]


def percentile(values: Sequence[float], percent: int) -> float:
    """The smallest of the values that so many percent of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]
