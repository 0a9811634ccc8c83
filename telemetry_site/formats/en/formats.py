"""How dates are written where no template says otherwise: short, and nowhere misread."""

DATE_FORMAT = "j M Y"
TIME_FORMAT = "H:i"
DATETIME_FORMAT = "j M Y, H:i"
