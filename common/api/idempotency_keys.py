"""The header Idempotency-Key (draft-ietf-httpapi-idempotency-key-header): what one may be."""

LONGEST_KEY = 255


class InvalidIdempotencyKey(ValueError):
    """Not 1 to 255 printable ASCII characters."""


class IdempotencyKeyReused(Exception):
    """The key came with another body before."""


def validate_key(key: str) -> None:
    """Raises InvalidIdempotencyKey."""
    if not (1 <= len(key) <= LONGEST_KEY and key.isascii() and key.isprintable()):
        raise InvalidIdempotencyKey
