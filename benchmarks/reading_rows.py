"""A row of the table: what was measured, against what, and whether that is what we want."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

Of = Literal["ratio", "figure"]


@dataclass(frozen=True)
class Goal:
    """A bound on the figure itself, or on its ratio to the peer's."""

    of: Of
    bound: float
    at_most: bool = False

    def met_by(self, value: float) -> bool:
        return value <= self.bound if self.at_most else value >= self.bound


def ratio_of(bound: float) -> Goal:
    """At least so many times the peer's figure."""
    return Goal("ratio", bound)


def at_least(bound: float) -> Goal:
    return Goal("figure", bound)


def at_most(bound: float) -> Goal:
    return Goal("figure", bound, at_most=True)


@dataclass(frozen=True)
class Row:
    """A figure and its unit, beside the peer's. Without a figure, `note` says why."""

    work: str
    unit: str
    figure: float | None = None
    peer: str = ""
    peer_figure: float | None = None
    goal: Goal | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """Of our figure to the peer's, whichever of them is better."""
        return self.figure / self.peer_figure if self.figure and self.peer_figure else None

    @property
    def verdict(self) -> str:
        if self.goal is None:
            return "" if self.figure is not None else "not measured"
        value = self.ratio if self.goal.of == "ratio" else self.figure
        if value is None:
            return "not measured"
        return "met" if self.goal.met_by(value) else "missed"

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "ratio": self.ratio, "verdict": self.verdict}
