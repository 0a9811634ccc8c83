"""The token format: `<prefix>_`, 43 base62 characters (256 bit), 6 characters of their CRC32.

With the checksum, a typo is rejected without a query, and secret scanners recognise a leaked token.
Only the SHA-256 of a token is stored. This module does not use the database.
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
"""Matches a token, or a part of one, in a text. The group is its display prefix."""
DISPLAY_PREFIX_LENGTH = 8
"""Characters of a token that stay visible, so that users can distinguish their tokens."""


class MalformedToken(ValueError):
    """The text does not have the format of a token, or its checksum is wrong."""


@dataclass(frozen=True)
class PlaintextToken:
    """A token in plaintext. It exists only until it is displayed or mailed."""

    text: str = field(repr=False)

    @property
    def display_prefix(self) -> str:
        """The prefix and the first random characters."""
        return self.text[:DISPLAY_PREFIX_LENGTH]

    @property
    def digest(self) -> bytes:
        """The SHA-256 (32 bytes), which is stored."""
        return sha256(self.text.encode()).digest()


def generate(prefix: str) -> PlaintextToken:
    """Return a new random token with this three-letter prefix."""
    head = f"{prefix}_" + "".join(choice(ALPHABET) for _ in range(RANDOM_LENGTH))
    return PlaintextToken(head + _checksum(head))


def parse(text: str, *prefixes: str) -> PlaintextToken:
    """Return `text` as a token. Raises MalformedToken if the prefix or the checksum is wrong."""
    if not TOKEN_PATTERN.fullmatch(text) or text[:3] not in prefixes:
        raise MalformedToken
    if _checksum(text[:-CHECKSUM_LENGTH]) != text[-CHECKSUM_LENGTH:]:
        raise MalformedToken
    return PlaintextToken(text)


TokenOrDigest = str | bytes
"""A token as text, or its digest from the session.

A digest comes only from `accounts.email.stored_links`, never from a request.
"""


def get_digest(token: TokenOrDigest, *prefixes: str) -> bytes:
    """Return the digest of a token, for the look-up. Raises MalformedToken."""
    return token if isinstance(token, bytes) else parse(token, *prefixes).digest


def mask_tokens(text: str) -> str:
    """Return the text with each token replaced by its display prefix."""
    return TOKEN_IN_TEXT.sub(r"\1…", text)


def _checksum(head: str) -> str:
    number, digits = crc32(head.encode()), ""
    for _ in range(CHECKSUM_LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits
