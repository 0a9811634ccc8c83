"""Devices, their tokens, watches and rejections."""

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Self

from django.contrib.postgres.indexes import GinIndex
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import (
    Case,
    DateTimeField,
    DurationField,
    ExpressionWrapper,
    F,
    Max,
    Q,
    Sum,
    Value,
    When,
)
from django.db.models.functions import Coalesce
from django.db.models.lookups import LessThan
from django.utils.translation import gettext_lazy as _

from accounts.models import StoredSecret, User
from common.db.compiled_query import CompiledQuery
from devices.metadata_sql import metadata_contains, metadata_equals

LAST_SEEN_PRECISION = timedelta(seconds=30)
"""`last_seen_at` is written at most this often, so it may be this old when a device sends."""

MAX_EXPECTED_INTERVAL = 30 * 24 * 3600
"""Seconds. Presence is not useful for a device that sends less than once a month."""

METADATA_KEYS_LIMIT = 10
"""Metadata keys that one search may compare."""


def is_online(now: datetime) -> Q:
    """Return the condition for online devices: the expected interval, plus LAST_SEEN_PRECISION, has
    not passed since the last contact.
    """
    second = Value(timedelta(seconds=1), DurationField())
    precision = Value(LAST_SEEN_PRECISION, DurationField())
    max_age = ExpressionWrapper(F("expected_interval") * second + precision, DurationField())
    oldest = ExpressionWrapper(Value(now, DateTimeField()) - max_age, DateTimeField())
    return Q(last_seen_at__gte=oldest)


class DeviceQuerySet(models.QuerySet["Device"]):
    """Access to devices, their presence, and search."""

    def visible_to(self, user: User) -> Self:
        """Return the devices the user may access. Every query in views, API and admin starts here.

        The SQL view `watched_devices` has the same condition for the user who gets an event.
        """
        return self.filter(user=user, deleted_at=None)

    def online(self, now: datetime) -> Self:
        """Return the devices that are online."""
        return self.filter(is_online(now))

    def offline(self, now: datetime) -> Self:
        """Return the devices that are offline or were never seen."""
        return self.exclude(is_online(now))

    def search(self, text: str) -> Self:
        """Return the devices with this id; or with this text in their name or in their owner's name
        or e-mail address; or with exactly this value in their metadata, at any depth.
        """
        try:
            return self.filter(pk=uuid.UUID(text))
        except ValueError:
            named = Q(name__icontains=text) | Q(user__username__icontains=text)
            named |= Q(user__email__icontains=text)
            # A subquery, because PostgreSQL cannot use the index of metadata in an OR with joins.
            containing = Device.objects.alias(contains=metadata_contains(text)).filter(
                contains=True
            )
            return self.filter(named | Q(pk__in=containing.values("pk")))

    def filter_by(
        self,
        now: datetime,
        *,
        status: str = "",
        device_type: str = "",
        search: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> Self:
        """Return the devices that match all filters; empty filters are ignored.

        `search` is a part of the name, case-insensitive. Metadata values are compared as text.
        """
        found = self
        if status:
            found = found.online(now) if status == Device.Status.ONLINE else found.offline(now)
        if device_type:
            found = found.filter(device_type=device_type)
        if search:
            found = found.filter(name__icontains=search)
        if metadata:
            found = found.filter(*(metadata_equals(key, value) for key, value in metadata.items()))
        return found

    def with_presence(self, now: datetime) -> Self:
        """Annotate `online`, computed from the last contact."""
        return self.annotate(
            online=Case(
                When(is_online(now), then=True),
                default=False,
                output_field=models.BooleanField(),
            )
        )


class Device(models.Model):
    """A device that sends readings and executes commands."""

    class Status(models.TextChoices):
        ONLINE = "online", _("Online")
        OFFLINE = "offline", _("Offline")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(
        User, verbose_name=_("user"), on_delete=models.CASCADE, related_name="devices"
    )
    name = models.CharField(_("name"), max_length=200)
    device_type = models.CharField(_("device type"), max_length=64, default="generic")
    status = models.CharField(
        _("status"),
        max_length=10,
        choices=Status,
        default=Status.OFFLINE,
        editable=False,
        help_text=_("As last announced; what is shown is worked out from last_seen_at."),
    )
    metadata = models.JSONField(_("metadata"), default=dict, blank=True)
    expected_interval = models.PositiveIntegerField(
        _("expected interval"),
        default=60,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_EXPECTED_INTERVAL)],
        help_text=_("Seconds between readings; a device silent for longer is offline."),
    )
    last_seen_at = models.DateTimeField(_("last seen at"), null=True, blank=True, editable=False)
    deactivated_at = models.DateTimeField(
        _("deactivated at"),
        null=True,
        blank=True,
        editable=False,
        help_text=_("Since when its tokens are refused; its data stays."),
    )
    deleted_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    updated_at = models.DateTimeField(_("updated at"), auto_now=True)

    objects = DeviceQuerySet.as_manager()

    class Meta:
        db_table = "devices"
        verbose_name = _("device")
        verbose_name_plural = _("devices")
        # No index has last_seen_at: it changes often, and without an index updates are HOT.
        indexes = [
            models.Index(
                fields=["user", "-created_at", "-id"],
                condition=Q(deleted_at=None),
                name="devices_of_user",
            ),
            models.Index(
                fields=["device_type"], condition=Q(deleted_at=None), name="devices_of_type"
            ),
            # Not jsonb_path_ops, which cannot search for a value without its keys.
            GinIndex(fields=["metadata"], name="devices_metadata"),
        ]
        constraints = [
            models.CheckConstraint(condition=~Q(name=""), name="devices_name_not_empty"),
            models.CheckConstraint(
                condition=Q(status__in=["online", "offline"]), name="devices_status_known"
            ),
            models.CheckConstraint(
                condition=Q(expected_interval__range=(1, MAX_EXPECTED_INTERVAL)),
                name="devices_expected_interval_in_range",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def pending_command_count(self, now: datetime) -> int:
        """Return the number of commands that are not finished or expired."""
        return len(pending_commands_query().fetch(device=self.pk, now=now))


@cache
def pending_commands_query() -> CompiledQuery:
    """Return the query for the pending commands of a device, also used within other statements."""
    device, now = Device(), datetime(1, 1, 1, tzinfo=UTC)
    commands = device.commands.pending_at(now).order_by().values("id")
    return CompiledQuery(commands, device=device.pk, now=now)


UNUSED_AFTER = timedelta(days=90)
"""A token that was not used for this long counts as unused."""


def _unused(now: datetime) -> LessThan:
    return LessThan(Coalesce("last_used_at", "created_at"), now - UNUSED_AFTER)


class DeviceTokenQuerySet(models.QuerySet["DeviceToken"]):
    """Access to device tokens, and search for unused ones."""

    def visible_to(self, user: User) -> Self:
        """Return the tokens of the devices that the user may access."""
        return self.filter(device__in=Device.objects.visible_to(user))

    def annotate_unused(self, now: datetime) -> Self:
        """Annotate `is_unused`: not used for UNUSED_AFTER; the device may be lost or replaced."""
        return self.annotate(is_unused=_unused(now))

    def unused(self, now: datetime) -> Self:
        """Return the tokens that were not used for UNUSED_AFTER."""
        return self.filter(_unused(now))


class DeviceToken(StoredSecret):
    """A token of one device. A stolen one gives access to this device, not to the account."""

    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="tokens")
    replaced_by = models.ForeignKey(
        "self", null=True, on_delete=models.SET_NULL, related_name="replaces", editable=False
    )

    objects = DeviceTokenQuerySet.as_manager()

    class Meta(StoredSecret.Meta):
        db_table = "device_tokens"


class Watch(models.Model):
    """A user who watches events of their devices until a time (SQL view `watched_devices`)."""

    user = models.OneToOneField(User, primary_key=True, on_delete=models.CASCADE, related_name="+")
    until = models.DateTimeField()

    class Meta:
        db_table = "user_watches"

    def __str__(self) -> str:
        return f"{self.user_id} until {self.until}"


class RefusalQuerySet(models.QuerySet["Refusal"]):
    """Queries on rejections of devices."""

    def totals_by_code(self) -> models.QuerySet[Any, Any]:
        """Return `code`, `total` and `last` (time) of each reason, most frequent first."""
        summed = self.values("code").annotate(total=Sum("count"), last=Max("last_at"))
        return summed.order_by("-total", "code")


class Refusal(models.Model):
    """How often requests or readings of a device were rejected for one reason, and the last one."""

    # The unique constraint starts with this column, so that it needs no other index.
    device = models.ForeignKey(
        Device, on_delete=models.CASCADE, related_name="refusals", db_index=False
    )
    code = models.CharField(
        max_length=64, help_text="Of the fault or the problem; else the answer's status."
    )
    status = models.PositiveSmallIntegerField(help_text="Of the answer.")
    count = models.BigIntegerField(help_text="Faults in readings, or whole requests.")
    pointer = models.TextField(blank=True, help_text="The last one's place in the body.")
    detail = models.TextField(blank=True, help_text="The last one in words.")
    request_id = models.CharField(max_length=32, blank=True)
    last_at = models.DateTimeField()

    objects = RefusalQuerySet.as_manager()

    class Meta:
        db_table = "device_refusals"
        constraints = [
            models.UniqueConstraint(fields=["device", "code"], name="device_refusals_once"),
            models.CheckConstraint(condition=Q(count__gt=0), name="device_refusals_counted"),
        ]

    def __str__(self) -> str:
        return f"{self.code}: {self.count}"
