"""Find the texts of a German page that are still in English."""

import re
from functools import cache
from html.parser import HTMLParser

from tests import messages

TEXT_ATTRIBUTES = {
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
"""Attributes with text that users read or hear."""
SKIPPED_TAGS = {"script", "style", "svg"}
PLACEHOLDER = re.compile(r"%\\\(\w+\\\)[sd]|%s|\\\{\w+\\\}")


class _TextCollector(HTMLParser):
    """Collects the visible texts of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.skipped = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.skipped += tag in SKIPPED_TAGS
        self.texts += [value for name, value in attrs if name in TEXT_ATTRIBUTES and value]

    def handle_endtag(self, tag: str) -> None:
        self.skipped -= tag in SKIPPED_TAGS

    def handle_data(self, data: str) -> None:
        if not self.skipped and data.strip():
            self.texts.append(data)


def page_text(page: str) -> str:
    """Return all texts of a page, each on its own line."""
    reader = _TextCollector()
    reader.feed(page)
    return "\n".join(" ".join(part.split()) for part in reader.texts)


@cache
def english() -> list[tuple[str, re.Pattern[str]]]:
    """Return each translated text with two or more words, and a pattern that finds it on a page."""
    found = []
    for message in messages.read(messages.files()[0]):
        ids = message.id if isinstance(message.id, tuple) else (message.id,)
        for text in ids:
            plain = " ".join(re.sub(r"<[^>]+>", " ", text).replace("%%", "%").split())
            without_placeholders = re.sub(r"%\(\w+\)[sd]|%s|\{\w+\}", " ", plain)
            if len(
                re.findall(r"[^\W\d_]{2,}", without_placeholders)
            ) < 2 or text in messages.strings(message):
                continue
            # A placeholder matches up to 200 characters within one text of the page.
            pattern = PLACEHOLDER.sub(r"[^\\n]{1,200}?", re.escape(plain)).replace(r"\ ", r"\s+")
            found.append((text, re.compile(rf"(?<!\w){pattern}(?!\w)")))
    return found


def still_english(page: str) -> list[str]:
    """Return the texts of this page that have a translation but are in English."""
    texts = page_text(page)
    return [text for text, pattern in english() if pattern.search(texts)]
