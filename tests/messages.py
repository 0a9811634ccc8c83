"""Update the catalogues: `make messages` extracts the texts of the sources, merges them into each
`locale/…/django.po` (translations are kept) and compiles it.

Needs no GNU gettext: Babel parses Python, and Django converts templates to Python-like text.
"""

import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from tokenize import TokenError

from babel.messages import Catalog, Message
from babel.messages.extract import DEFAULT_KEYWORDS, extract
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from django.utils.translation.template import templatize

ROOT = Path(__file__).resolve().parent.parent
APPS = ("accounts", "commands", "common", "devices", "telemetry", "telemetry_site")
KEYWORDS = {
    **DEFAULT_KEYWORDS,
    "gettext_lazy": None,
    "gettext_noop": None,
    "_noop": None,
    "ngettext_lazy": (1, 2),
}
"""The functions that mark a text, and the positions of their text arguments."""


def files() -> list[Path]:
    """Return the paths of all catalogues."""
    return sorted(ROOT.glob("locale/*/LC_MESSAGES/django.po"))


def sources() -> Iterator[tuple[Path, str]]:
    """Yield each source file with its content as Python."""
    for app in APPS:
        for path in sorted(ROOT.glob(f"{app}/**/*.py")):
            yield path, path.read_text()
    for suffix in ("html", "txt"):
        for path in sorted(ROOT.glob(f"templates/**/*.{suffix}")):
            # In parentheses, so that the tokenizer ignores the indentation.
            yield path, f"(\n{templatize(path.read_text(), origin=str(path))}\n)"


def used() -> Catalog:
    """Return a catalogue of all texts in the sources."""
    catalogue = Catalog(fuzzy=False)
    for path, text in sources():
        try:
            found = list(extract("python", BytesIO(text.encode()), KEYWORDS))
        except (SyntaxError, TokenError) as error:
            raise SystemExit(f"{path}: {error}") from None
        for _line, message, _comments, context in found:
            catalogue.add(message, context=context, locations=[(str(path.relative_to(ROOT)), 0)])
    return catalogue


def read(path: Path) -> Catalog:
    with path.open("rb") as file:
        return read_po(file, locale=path.parent.parent.name)


def strings(message: Message) -> tuple[str, ...]:
    """Return the translation, or one for each plural form; empty if there is none yet."""
    return message.string if isinstance(message.string, tuple) else (message.string,)


def written(catalogue: Catalog) -> bytes:
    """Return the catalogue as .po: without unused texts, sorted by file."""
    out = BytesIO()
    write_po(out, catalogue, sort_by_file=True, include_lineno=False, ignore_obsolete=True)
    return out.getvalue()


def compiled(catalogue: Catalog) -> bytes:
    """Return the catalogue as .mo."""
    out = BytesIO()
    write_mo(out, catalogue)
    return out.getvalue()


def main() -> None:
    template = used()
    for path in files():
        catalogue = read(path)
        # Without this the file would change with every run.
        template.creation_date = catalogue.creation_date
        catalogue.update(template, no_fuzzy_matching=True)
        path.write_bytes(written(catalogue))
        # The writer sorts the locations, and a second pass sorts the messages by them.
        catalogue = read(path)
        path.write_bytes(written(catalogue))
        path.with_suffix(".mo").write_bytes(compiled(catalogue))
        missing = sum(not all(strings(message)) for message in catalogue if message.id)
        summary = f"{path.relative_to(ROOT)}: {len(catalogue)} texts, {missing} to be translated\n"
        sys.stdout.write(summary)


if __name__ == "__main__":
    main()
