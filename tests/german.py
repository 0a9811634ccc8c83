"""Whether a page speaks German: what of it is still in English."""

import re
from functools import cache
from html.parser import HTMLParser

from tests import messages

SAID_BY = {
    "aria-label",
    "aria-roledescription",
    "content",
    "data-label",
    "data-say",
    "data-title",
    "data-words",
    "placeholder",
    "title",
}
"""Attributes that people hear or read of."""
SILENT = {"script", "style", "svg"}
BLANK = re.compile(r"%\\\(\w+\\\)[sd]|%s|\\\{\w+\\\}")


class _Reader(HTMLParser):
    """Collects what a page says."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []
        self.silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.silent += tag in SILENT
        self.said += [value for name, value in attrs if name in SAID_BY and value]

    def handle_endtag(self, tag: str) -> None:
        self.silent -= tag in SILENT

    def handle_data(self, data: str) -> None:
        if not self.silent and data.strip():
            self.said.append(data)


def words(page: str) -> str:
    """All that a page says, its parts on lines of their own."""
    reader = _Reader()
    reader.feed(page)
    return "\n".join(" ".join(part.split()) for part in reader.said)


@cache
def english() -> list[tuple[str, re.Pattern[str]]]:
    """Each text of two words and more that has a translation, and how it would look on a page."""
    found = []
    for message in messages.read(messages.files()[0]):
        ids = message.id if isinstance(message.id, tuple) else (message.id,)
        for text in ids:
            plain = " ".join(re.sub(r"<[^>]+>", " ", text).replace("%%", "%").split())
            said = re.sub(r"%\(\w+\)[sd]|%s|\{\w+\}", " ", plain)
            if len(re.findall(r"[^\W\d_]{2,}", said)) < 2 or text in messages.strings(message):
                continue
            # Part by part, as a page is taken apart where an element begins.
            blanks = BLANK.sub(r"[^\\n]{1,200}?", re.escape(plain)).replace(r"\ ", r"\s+")
            found.append((text, re.compile(rf"(?<!\w){blanks}(?!\w)")))
    return found


def still_english(page: str) -> list[str]:
    """The texts of this page that have a translation and are not translated."""
    said = words(page)
    return [text for text, look in english() if look.search(said)]
