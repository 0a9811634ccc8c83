"""Sparklines as SVG paths, WIDTH by HEIGHT."""

from collections.abc import Sequence
from itertools import pairwise

from telemetry.queries.sparklines import Point

WIDTH, HEIGHT = 100, 28
EDGE = 2
GAP_FACTOR = 6.0
"""A gap of this many times the median gap interrupts the line."""


def svg_path(points: Sequence[Point]) -> str:
    """Return the line through these points, or an empty path for fewer than two."""
    if len(points) < 2:
        return ""
    first, last = points[0][0], points[-1][0]
    least, most = min(value for _, value in points), max(value for _, value in points)
    gaps = sorted(after[0] - before[0] for before, after in pairwise(points))
    max_gap = GAP_FACTOR * max(gaps[len(gaps) // 2], 1)
    parts, previous = [], first - max_gap - 1
    for time, value in points:
        letter = "M" if time - previous > max_gap else "L"
        x = (time - first) / ((last - first) or 1) * WIDTH
        share = (value - least) / (most - least) if most > least else 0.5
        parts.append(f"{letter}{x:.4g} {EDGE + (1 - share) * (HEIGHT - 2 * EDGE):.3g}")
        previous = time
    return "".join(parts)
