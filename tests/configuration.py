"""Writes docs/configuration.md from .env.example: `python -m tests.configuration > FILE`."""

import re
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parent.parent / ".env.example"
TOP = """# Settings

This page lists all environment variables. Set them in the environment of the processes or in a
file `.env` beside `manage.py`. `make schema` writes this page from `.env.example`."""
HEAD = ["| Variable | Default or example | Meaning |", "|---|---|---|"]


def markdown() -> str:
    """Return the page: a table for each section of .env.example."""
    lines = [TOP]
    for heading, rows in groupby(_rows(EXAMPLE.read_text(encoding="utf-8")), lambda row: row[0]):
        lines += [f"\n## {heading}\n", *HEAD]
        lines += [f"| {names} | {values} | {meaning} |" for _, names, values, meaning in rows]
    return "\n".join(lines) + "\n"


def _rows(text: str) -> Iterator[tuple[str, str, str, str]]:
    """Yield (section, variables, values, meaning); variables below one comment share a row."""
    heading, comment, variables = "", [], []
    for line in [*text.splitlines(), ""]:
        found = re.match(r"#([A-Z0-9_]+)=(.*)$", line)
        if found:
            variables.append(found.groups())
            continue
        if variables:
            names, values = (
                "<br>".join(f"`{cell}`" if cell else "" for cell in column)
                for column in zip(*variables, strict=True)
            )
            yield heading, names, values, " ".join(comment).replace("|", "\\|")
            comment, variables = [], []
        if line.startswith("## "):
            heading = line[3:]
        elif line.startswith("# "):
            comment.append(line[2:])
        else:
            comment = []


if __name__ == "__main__":
    sys.stdout.write(markdown())
