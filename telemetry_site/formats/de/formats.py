"""Date formats in German: short and unambiguous."""

DATE_FORMAT = "j. M Y"
TIME_FORMAT = "H:i"
DATETIME_FORMAT = "j. M Y, H:i"
THOUSAND_SEPARATOR = "\N{NARROW NO-BREAK SPACE}"
