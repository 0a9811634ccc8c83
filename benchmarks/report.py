"""What was measured, as a table for people and as JSON for programs."""

import json
from collections.abc import Iterable, Sequence

from benchmarks.paths import RESULTS, ROOT
from benchmarks.reading_rows import Row

HEADER = ["work", "unit", "ours", "peer", "peer's", "ratio", "goal", ""]
PERFORMANCE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- the last full run -->\n", "<!-- its end -->\n"


def markdown(rows: Iterable[Row], facts: dict[str, str]) -> str:
    """The table, and below it the machine."""
    lines = [f"| {' | '.join(HEADER)} |", "|---|---|--:|---|--:|--:|--:|---|"]
    lines += [f"| {' | '.join(cells(row))} |" for row in rows]
    lines += ["", *(f"- {name}: {value}" for name, value in facts.items())]
    return "\n".join(lines) + "\n"


def cells(row: Row) -> list[str]:
    """A row as it is shown."""
    ratio = f"{row.ratio:.2f} ×" if row.ratio is not None else ""
    verdict = "; ".join(text for text in (row.verdict, row.note) if text)
    return [
        row.work,
        row.unit,
        number(row.figure),
        row.peer,
        number(row.peer_figure),
        ratio,
        goal(row),
        verdict,
    ]


def goal(row: Row) -> str:
    if row.goal is None:
        return ""
    sign = "≤" if row.goal.at_most else "≥"
    return f"{sign} {row.goal.bound:,g}" + (" ×" if row.goal.of == "ratio" else "")


def number(value: float | None) -> str:
    """Three digits that mean something, however large it is."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def write(rows: Sequence[Row], facts: dict[str, str], *, name: str) -> None:
    """Keep the table as the last of its kind; that of a full run is shown in the docs, too."""
    RESULTS.mkdir(exist_ok=True)
    told = {"machine": facts, "rows": [row.as_json() for row in rows]}
    text = json.dumps(told, indent=1, ensure_ascii=False) + "\n"
    (RESULTS / f"{name}.json").write_text(text, encoding="utf-8")
    table = markdown(rows, facts)
    (RESULTS / f"{name}.md").write_text(f"# The last {name} run\n\n{table}", encoding="utf-8")
    if name == "full":
        page = PERFORMANCE.read_text(encoding="utf-8")
        PERFORMANCE.write_text(with_table(page, table), encoding="utf-8")


def with_table(page: str, table: str) -> str:
    """The page with this table in the place that is marked for it."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table}\n{END}{after}"
