"""The decisions have one shape and an index, and links in the documents lead to existing files."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "decisions"
DECISIONS = sorted(FOLDER.glob("[0-9]*.md"))
INDEX = (FOLDER / "README.md").read_text(encoding="utf-8")
SECTIONS = ["Question", "Findings", "Decision", "Costs", "Not chosen"]
DOCUMENTS = sorted((ROOT / "docs").rglob("*.md")) + [
    ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
]

FILE_NAME = re.compile(r"(\d{4})-[a-z0-9-]+\.md")
HEAD = re.compile(
    r"# (?P<number>\d{4})\. (?P<title>.+)\n\n"
    r"Date: (?P<date>\d{4}-\d\d-\d\d)\n"
    r"Status: (?:accepted|superseded by \[\d{4}\]\(\d{4}-[a-z0-9-]+\.md\))\n"
    r"(?:Changed by: (?P<changed_by>.+)\n)?"
    r"(?:Changes: (?P<changes>.+)\n)?\n"
)
INDEX_ROW = re.compile(r"^\| (\d+) \| \[(.+?)\]\((\S+?)\) \| (\S+) \| .+ \|$", re.MULTILINE)
UNUSED_NUMBERS = re.compile(r"^The numbers (.+) are not used\.$", re.MULTILINE)
CODE = re.compile(r"^(```+|~~~+).*?^\1|`[^`\n]+`", re.MULTILINE | re.DOTALL)
LINK = re.compile(
    r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)|^\[[^\]]+\]:\s*(\S+)", re.MULTILINE
)


def head(path: Path) -> re.Match[str]:
    """Return the parsed lines above the sections of a decision."""
    match = HEAD.match(path.read_text(encoding="utf-8"))
    assert match, f"{path.name} does not begin with title, date and status"
    return match


def relative_links(document: Path) -> Iterator[str]:
    """Yield the paths of the links in a document that are not URLs and not anchors within it."""
    text = CODE.sub("", document.read_text(encoding="utf-8"))
    for inline, reference in LINK.findall(text):
        target = unquote(inline or reference).partition("#")[0]
        if target and not re.match(r"[a-z][a-z0-9+.-]*:|/", target):
            yield target


def decisions_in(links: str | None) -> set[str]:
    """Return the file names in a list of links."""
    return set(re.findall(r"\((\S+?\.md)\)", links or ""))


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.name[:4])
def test_a_decision_has_a_title_a_date_a_status_and_all_sections(path: Path) -> None:
    name = FILE_NAME.fullmatch(path.name)
    assert name
    assert head(path)["number"] == name[1]
    text = path.read_text(encoding="utf-8")
    assert re.findall(r"^\*\*([^*]+)\.\*\*", text, re.MULTILINE) == SECTIONS


def test_the_index_lists_each_decision_with_its_title_and_date() -> None:
    expected = [
        (str(int(match["number"])), match["title"], path.name, match["date"])
        for path in DECISIONS
        for match in [head(path)]
    ]
    assert INDEX_ROW.findall(INDEX) == expected


def test_numbers_are_unique_and_the_index_names_each_unused_number() -> None:
    numbers = [int(path.name[:4]) for path in DECISIONS]
    unused = UNUSED_NUMBERS.search(INDEX)
    unused_numbers = [int(number) for number in re.findall(r"\d+", unused[1])] if unused else []
    assert sorted(numbers + unused_numbers) == list(range(1, max(numbers) + 1))


def test_a_changed_decision_and_the_one_that_changes_it_link_to_each_other() -> None:
    changed_by = {
        (path.name, other) for path in DECISIONS for other in decisions_in(head(path)["changed_by"])
    }
    changes = {
        (other, path.name) for path in DECISIONS for other in decisions_in(head(path)["changes"])
    }
    assert changed_by == changes


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_lead_to_existing_files(document: Path) -> None:
    missing = [link for link in relative_links(document) if not (document.parent / link).exists()]
    assert missing == []
