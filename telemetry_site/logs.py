"""What the log may say."""

import logging
import re

SECRET = re.compile(r"\b(ts[a-z]_[0-9A-Za-z]{4})[0-9A-Za-z]+")
"""A secret, or a part of one, and its beginning, by which its owner can tell it."""


class WithoutSecrets(logging.Filter):
    """Leaves of every secret only its beginning, wherever somebody has put it."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = SECRET.sub(r"\1…", record.getMessage()), None
        return True
