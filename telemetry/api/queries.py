"""What several questions have in common."""

from devices.fields import TimeField


def time_range(*, required: bool) -> dict[str, TimeField]:
    """The fields `from` and `to`; the first is a word of the language and cannot be declared."""
    return {
        "from": TimeField(required=required, help_text="Included."),
        "to": TimeField(required=required, help_text="Excluded."),
    }
