"""Query parameters that several endpoints use."""

from common.api.fields import StrictDateTimeField


def time_range(*, required: bool) -> dict[str, StrictDateTimeField]:
    """Return the fields `from` and `to`. A class cannot declare `from`, a Python keyword."""
    return {
        "from": StrictDateTimeField(required=required, help_text="Included."),
        "to": StrictDateTimeField(required=required, help_text="Excluded."),
    }
