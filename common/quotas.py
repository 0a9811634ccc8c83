"""Limits on what each user and the whole site may store."""

import shutil
from time import monotonic

from django.conf import settings

DISK_CHECK_INTERVAL = 5.0
"""Seconds for which a process caches its last check of the disk."""


class QuotaReached(Exception):
    """The user has reached a limit; `setting` is the name of its setting."""

    def __init__(self, setting: str) -> None:
        super().__init__(setting)
        self.setting = setting
        self.limit = int(getattr(settings, setting))


class DiskFull(Exception):
    """Less than DISK_RESERVE is free on the disk of DATA_DIR. Nothing was stored."""


def check_quota(setting: str, current: int) -> None:
    """Raise QuotaReached if the user has as many as the setting allows, or more.

    The caller must hold the lock that every insert of such a row takes, or concurrent requests
    could exceed the limit.
    """
    if current >= int(getattr(settings, setting)):
        raise QuotaReached(setting)


def free_bytes() -> int:
    """Return the free bytes on the disk of DATA_DIR."""
    return shutil.disk_usage(settings.DATA_DIR).free


def is_disk_full() -> bool:
    """Return whether less than DISK_RESERVE is free. The database needs the reserve to delete,
    vacuum and shut down cleanly.
    """
    now = monotonic()
    if now - _DiskState.checked_at > DISK_CHECK_INTERVAL:
        _DiskState.is_full, _DiskState.checked_at = free_bytes() < settings.DISK_RESERVE, now
    return _DiskState.is_full


def check_disk() -> None:
    """Raise DiskFull if less than DISK_RESERVE is free."""
    if is_disk_full():
        raise DiskFull


class _DiskState:
    """The last check of the disk by this process."""

    checked_at = float("-inf")
    is_full = False
