"""The catalogues of translations, held to the sources. `make messages` mends what it can."""

import re
from pathlib import Path

import pytest
from babel.messages import Catalog

from tests import messages

BLANK = re.compile(r"%\(\w+\)[sd]|%[sd%]|\{\w+\}")
FILES = messages.files()


@pytest.fixture(scope="module")
def used() -> Catalog:
    return messages.used()


def test_there_are_some() -> None:
    assert [path.parent.parent.name for path in FILES] == ["de"]


def test_templates_and_code_are_read(used: Catalog) -> None:
    assert used.get("Sign in") is not None
    assert used.get("Page %(number)s of %(last)s") is not None
    assert used.get("%(count)d second") is not None
    assert used.get("Expecting value") is not None
    assert used.get("May", context="what a token is allowed") is not None


@pytest.mark.parametrize("path", FILES, ids=str)
class TestCatalogue:
    def test_what_the_sources_say_is_in_it_and_nothing_else(
        self, path: Path, used: Catalog
    ) -> None:
        found = messages.read(path)
        assert {(m.id, m.context) for m in found} == {(m.id, m.context) for m in used}
        assert list(found.obsolete) == []

    def test_all_of_it_is_translated(self, path: Path) -> None:
        found = messages.read(path)
        empty = [m.id for m in found if m.id and not all(messages.strings(m))]
        assert empty == []
        assert [m.id for m in found if m.id and m.fuzzy] == []

    def test_every_plural_has_all_its_forms(self, path: Path) -> None:
        found = messages.read(path)
        wrong = [
            m.id
            for m in found
            if m.id and len(messages.strings(m)) != (found.num_plurals if m.pluralizable else 1)
        ]
        assert wrong == []

    def test_blanks_are_the_same_in_both_languages(self, path: Path) -> None:
        for message in messages.read(path):
            ids = message.id if isinstance(message.id, tuple) else (message.id,)
            wanted = [sorted(BLANK.findall(text)) for text in ids]
            for text in messages.strings(message) if message.id else ():
                assert sorted(BLANK.findall(text)) in wanted, text

    def test_it_is_compiled(self, path: Path) -> None:
        assert path.with_suffix(".mo").read_bytes() == messages.compiled(messages.read(path))

    def test_it_is_as_make_messages_writes_it(self, path: Path) -> None:
        assert path.read_bytes() == messages.written(messages.read(path))
