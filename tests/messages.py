"""What people read, in every language: `make messages` finds it in the sources, brings each
`locale/…/django.po` up to date (translations are kept) and compiles it.

Needs no GNU gettext: Babel reads Python, and Django turns templates into something like it.
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
"""What marks a text in the sources, and which of its arguments are texts."""


def files() -> list[Path]:
    """Every catalogue there is."""
    return sorted(ROOT.glob("locale/*/LC_MESSAGES/django.po"))


def sources() -> Iterator[tuple[Path, str]]:
    """Each file that says something, as Python."""
    for app in APPS:
        for path in sorted(ROOT.glob(f"{app}/**/*.py")):
            yield path, path.read_text()
    for suffix in ("html", "txt"):
        for path in sorted(ROOT.glob(f"templates/**/*.{suffix}")):
            # In brackets, or the reader would make something of how it is indented.
            yield path, f"(\n{templatize(path.read_text(), origin=str(path))}\n)"


def used() -> Catalog:
    """All that the sources say."""
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
    """The translation, or that of each plural form; empty where there is none yet."""
    return message.string if isinstance(message.string, tuple) else (message.string,)


def written(catalogue: Catalog) -> bytes:
    """As a .po, without what is no longer used, in an order that does not change by itself."""
    out = BytesIO()
    write_po(out, catalogue, sort_by_file=True, include_lineno=False, ignore_obsolete=True)
    return out.getvalue()


def compiled(catalogue: Catalog) -> bytes:
    """As a .mo."""
    out = BytesIO()
    write_mo(out, catalogue)
    return out.getvalue()


def main() -> None:
    template = used()
    for path in files():
        catalogue = read(path)
        # Or a file would differ after every run.
        template.creation_date = catalogue.creation_date
        catalogue.update(template, no_fuzzy_matching=True)
        path.write_bytes(written(catalogue))
        path.with_suffix(".mo").write_bytes(compiled(catalogue))
        missing = sum(not all(strings(message)) for message in catalogue if message.id)
        told = f"{path.relative_to(ROOT)}: {len(catalogue)} texts, {missing} to be translated\n"
        sys.stdout.write(told)


if __name__ == "__main__":
    main()
