"""What a secret looks like: `<prefix>_`, 43 base62 characters (256 bit), 6 of their CRC32.

The checksum lets a typo be refused without a look-up and lets scanners recognise a leaked
secret. Only the SHA-256 of a secret is ever stored. No database here.
"""

import re
import string
from dataclasses import dataclass, field
from hashlib import sha256
from secrets import choice
from zlib import crc32

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
RANDOM_LENGTH = 43
CHECKSUM_LENGTH = 6
TOKEN_PATTERN = re.compile(
    rf"[a-z]{{3}}_[0-9A-Za-z]{{{RANDOM_LENGTH + CHECKSUM_LENGTH}}}", re.ASCII
)
TOKEN_IN_TEXT = re.compile(r"\b(ts[a-z]_[0-9A-Za-z]{4})[0-9A-Za-z]+")
"""A secret, or a part of one, and its beginning, by which its owner can tell it."""
VISIBLE_LENGTH = 8
"""Characters of a secret that stay visible, so that people can tell their tokens apart."""


class MalformedToken(ValueError):
    """Not one of our secrets, or one with a typo."""


@dataclass(frozen=True)
class PlaintextToken:
    """A secret in the clear; it exists only between being made and being shown once."""

    text: str = field(repr=False)

    @property
    def visible(self) -> str:
        """The prefix and its first random characters."""
        return self.text[:VISIBLE_LENGTH]

    @property
    def digest(self) -> bytes:
        """32 bytes of SHA-256: what is stored."""
        return sha256(self.text.encode()).digest()


def generate(prefix: str) -> PlaintextToken:
    """A new random secret with the three-letter prefix of its kind."""
    head = f"{prefix}_" + "".join(choice(ALPHABET) for _ in range(RANDOM_LENGTH))
    return PlaintextToken(head + _checksum(head))


def parse(text: str, *prefixes: str) -> PlaintextToken:
    """The secret that `text` is, when it has one of the prefixes and its checksum holds.

    Raises MalformedSecret.
    """
    if not TOKEN_PATTERN.fullmatch(text) or text[:3] not in prefixes:
        raise MalformedToken
    if _checksum(text[:-CHECKSUM_LENGTH]) != text[-CHECKSUM_LENGTH:]:
        raise MalformedToken
    return PlaintextToken(text)


Shown = str | bytes
"""How somebody shows that they have a secret: its text, or the digest of it that their session
keeps. A digest comes only from `accounts.email.stored_links`, never from a request.
"""


def digest_of(shown: Shown, *prefixes: str) -> bytes:
    """Return the digest by which the secret is found. Raises MalformedSecret."""
    return shown if isinstance(shown, bytes) else parse(shown, *prefixes).digest


def mask_tokens(text: str) -> str:
    """The text with only the beginning of every secret in it."""
    return TOKEN_IN_TEXT.sub(r"\1…", text)


def _checksum(head: str) -> str:
    number, digits = crc32(head.encode()), ""
    for _ in range(CHECKSUM_LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits
