"""What the log may say."""

import logging

from accounts import secrets


class WithoutSecrets(logging.Filter):
    """Leaves of every secret only its beginning, wherever somebody has put it."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = secrets.masked(record.getMessage()), None
        return True
