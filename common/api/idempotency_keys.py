"""Validation of the header Idempotency-Key (draft-ietf-httpapi-idempotency-key-header)."""

MAX_KEY_LENGTH = 255


class InvalidIdempotencyKey(ValueError):
    """The key is not 1 to 255 printable ASCII characters."""


class IdempotencyKeyReused(Exception):
    """The key was already used with another body."""


def validate_key(key: str) -> None:
    """Raise InvalidIdempotencyKey if the key is invalid."""
    if not (1 <= len(key) <= MAX_KEY_LENGTH and key.isascii() and key.isprintable()):
        raise InvalidIdempotencyKey
