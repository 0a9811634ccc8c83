"""What users and the whole site may hold: errors for what is over it."""

import shutil
from time import monotonic

from django.conf import settings

CHECKED_EVERY = 5.0
"""Seconds for which a process believes what it has seen of the disk."""


class QuotaReached(Exception):
    """The user has as many of something as they may have; `setting` says how many."""

    def __init__(self, setting: str) -> None:
        super().__init__(setting)
        self.setting = setting
        self.most = int(getattr(settings, setting))


class DiskFull(Exception):
    """Less room than DISK_RESERVE is left below DATA_DIR. Nothing was stored."""


def check_quota(setting: str, held: int) -> None:
    """Raise QuotaReached if the user holds as many as the setting allows, or more.

    The caller holds a lock that all who add one take, so that of many at once none is too many.
    """
    if held >= int(getattr(settings, setting)):
        raise QuotaReached(setting)


def free_bytes() -> int:
    """Return how much room there is below DATA_DIR."""
    return shutil.disk_usage(settings.DATA_DIR).free


def is_disk_full() -> bool:
    """Return whether only DISK_RESERVE is left, which the database needs to delete, vacuum and end
    in good order.
    """
    now = monotonic()
    if now - _Seen.at > CHECKED_EVERY:
        _Seen.is_full, _Seen.at = free_bytes() < settings.DISK_RESERVE, now
    return _Seen.is_full


def check_disk() -> None:
    """Raise DiskFull if only DISK_RESERVE is left."""
    if is_disk_full():
        raise DiskFull


class _Seen:
    """What this process has last seen of the disk."""

    at = float("-inf")
    is_full = False
