"""What several questions have in common."""

from common.api.fields import StrictDateTimeField


def time_range(*, required: bool) -> dict[str, StrictDateTimeField]:
    """The fields `from` and `to`; the first is a word of the language and cannot be declared."""
    return {
        "from": StrictDateTimeField(required=required, help_text="Included."),
        "to": StrictDateTimeField(required=required, help_text="Excluded."),
    }
