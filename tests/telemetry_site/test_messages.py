"""The translation catalogues match the sources. `make messages` updates them."""

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


def test_there_is_a_german_catalogue() -> None:
    assert [path.parent.parent.name for path in FILES] == ["de"]


def test_messages_of_templates_and_code_are_found(used: Catalog) -> None:
    assert used.get("Sign in") is not None
    assert used.get("Page %(number)s of %(last)s") is not None
    assert used.get("%(count)d second") is not None
    assert used.get("Expecting value") is not None
    assert used.get("None", context="password") is not None


@pytest.mark.parametrize("path", FILES, ids=str)
class TestCatalogue:
    def test_the_catalogue_contains_exactly_the_messages_of_the_sources(
        self, path: Path, used: Catalog
    ) -> None:
        found = messages.read(path)
        assert {(m.id, m.context) for m in found} == {(m.id, m.context) for m in used}
        assert list(found.obsolete) == []

    def test_every_message_is_translated(self, path: Path) -> None:
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

    def test_placeholders_are_the_same_in_both_languages(self, path: Path) -> None:
        for message in messages.read(path):
            ids = message.id if isinstance(message.id, tuple) else (message.id,)
            wanted = [sorted(BLANK.findall(text)) for text in ids]
            for text in messages.strings(message) if message.id else ():
                assert sorted(BLANK.findall(text)) in wanted, text

    def test_the_compiled_catalogue_is_current(self, path: Path) -> None:
        assert path.with_suffix(".mo").read_bytes() == messages.compiled(messages.read(path))

    def test_the_catalogue_has_the_format_of_make_messages(self, path: Path) -> None:
        assert path.read_bytes() == messages.written(messages.read(path))
