"""Devices and the secrets they speak with."""

import json
import re
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
    Func,
    Max,
    Q,
    Sum,
    TextField,
    Value,
    When,
)
from django.db.models.functions import Coalesce
from django.db.models.lookups import Exact, LessThan
from django.utils.translation import gettext_lazy as _

from accounts.models import StoredSecret, User
from common.db.compiled_query import CompiledQuery

LAST_SEEN_PRECISION = timedelta(seconds=30)
"""`last_seen_at` is written at most this often, so it may be this much too old."""

LONGEST_INTERVAL = 30 * 24 * 3600
"""Seconds; a device that reports less than monthly has no presence worth showing."""

METADATA_KEYS_LIMIT = 10
"""Keys of metadata that one search may compare."""

NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,15})?", re.ASCII)
"""What a JSON path takes for a number, too."""


def is_online(now: datetime) -> Q:
    """The rule of presence: a device is offline once its expected interval has passed since its
    last contact, which is known to CONTACT_PRECISION.
    """
    second = Value(timedelta(seconds=1), DurationField())
    precision = Value(LAST_SEEN_PRECISION, DurationField())
    silence = ExpressionWrapper(F("expected_interval") * second + precision, DurationField())
    oldest = ExpressionWrapper(Value(now, DateTimeField()) - silence, DateTimeField())
    return Q(last_seen_at__gte=oldest)


class DeviceQuerySet(models.QuerySet["Device"]):
    """What a person may see of devices, and how they are doing."""

    def visible_to(self, user: User) -> Self:
        """The user's own devices; where every look-up of every door begins.

        The view `watched_devices` says the same in SQL: whom an event of a device is for.
        """
        return self.filter(user=user, deleted_at=None)

    def online(self, now: datetime) -> Self:
        """Those in contact."""
        return self.filter(is_online(now))

    def offline(self, now: datetime) -> Self:
        """Those out of contact, and those never seen."""
        return self.exclude(is_online(now))

    def found_by(self, text: str) -> Self:
        """Those with this id, with this in their name or their owner's name or address, or with
        a value in their metadata that is exactly this, however deep.
        """
        try:
            return self.filter(pk=uuid.UUID(text))
        except ValueError:
            named = Q(name__icontains=text) | Q(user__username__icontains=text)
            named |= Q(user__email__icontains=text)
            # In a query of its own, or its index would be of no use beside the rest.
            told = Device.objects.alias(told=_holds(text)).filter(told=True)
            return self.filter(named | Q(pk__in=told.values("pk")))

    def having(
        self,
        now: datetime,
        *,
        status: str = "",
        device_type: str = "",
        search: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> Self:
        """Those that a person looks for; what is empty is not asked.

        `search` is a part of the name, in any case; a metadata value is compared as text.
        """
        found = self
        if status:
            found = found.online(now) if status == Device.Status.ONLINE else found.offline(now)
        if device_type:
            found = found.filter(device_type=device_type)
        if search:
            found = found.filter(name__icontains=search)
        if metadata:
            found = found.filter(*(_has_text(key, value) for key, value in metadata.items()))
        return found

    def with_presence(self, now: datetime) -> Self:
        """Annotate `online`."""
        return self.annotate(
            online=Case(
                When(is_online(now), then=True),
                default=False,
                output_field=models.BooleanField(),
            )
        )


def _has_text(key: str, value: str) -> Exact[Any]:
    """Whether metadata has this value, as text, under this key."""
    # KeyTextTransform would take a key of digits for a place in a list.
    text = Func(
        F("metadata"), Value(key), function="jsonb_extract_path_text", output_field=TextField()
    )
    return Exact(text, Value(value))


def _holds(text: str) -> Func:
    """Whether metadata has this value somewhere, as a text, a number, true or false."""
    path = f"$.** ? (@ == {json.dumps(text)}"
    if text in ("true", "false") or NUMBER.fullmatch(text):
        path += f" || @ == {text}"
    return Func(
        F("metadata"),
        Value(f"{path})"),
        template="(%(expressions)s::jsonpath)",
        arg_joiner=" @? ",
        output_field=models.BooleanField(),
    )


class Device(models.Model):
    """A thing that sends readings and carries out commands."""

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
        validators=[MinValueValidator(1), MaxValueValidator(LONGEST_INTERVAL)],
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
        # last_seen_at is in no index: it changes often, and such updates then stay in the page.
        indexes = [
            models.Index(
                fields=["user", "-created_at", "-id"],
                condition=Q(deleted_at=None),
                name="devices_of_user",
            ),
            models.Index(
                fields=["device_type"], condition=Q(deleted_at=None), name="devices_of_type"
            ),
            # Not jsonb_path_ops, which does not find a value without the keys above it.
            GinIndex(fields=["metadata"], name="devices_metadata"),
        ]
        constraints = [
            models.CheckConstraint(condition=~Q(name=""), name="devices_name_not_empty"),
            models.CheckConstraint(
                condition=Q(status__in=["online", "offline"]), name="devices_status_known"
            ),
            models.CheckConstraint(
                condition=Q(expected_interval__range=(1, LONGEST_INTERVAL)),
                name="devices_expected_interval_in_range",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def waiting_commands(self, now: datetime) -> int:
        """How many commands wait to be fetched or answered."""
        return len(waiting().rows(device=self.pk, now=now))


@cache
def waiting() -> CompiledQuery:
    """The commands that wait for a device, for statements that count them by the way."""
    device, now = Device(), datetime(1, 1, 1, tzinfo=UTC)
    commands = device.commands.waiting(now).order_by().values("id")
    return CompiledQuery(commands, device=device.pk, now=now)


UNUSED_AFTER = timedelta(days=90)


def _unused(now: datetime) -> LessThan:
    return LessThan(Coalesce("last_used_at", "created_at"), now - UNUSED_AFTER)


class DeviceTokenQuerySet(models.QuerySet["DeviceToken"]):
    """The tokens of devices, and which of them nobody seems to need."""

    def visible_to(self, user: User) -> Self:
        """Those of the devices that the user may see."""
        return self.filter(device__in=Device.objects.visible_to(user))

    def with_use(self, now: datetime) -> Self:
        """Annotate `is_unused`: for 90 days, as of a device that is lost or was replaced."""
        return self.annotate(is_unused=_unused(now))

    def unused(self, now: datetime) -> Self:
        """Those not used for 90 days."""
        return self.filter(_unused(now))


class DeviceToken(StoredSecret):
    """A secret of one device, so that a stolen sensor is not its owner's whole account."""

    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="tokens")
    replaced_by = models.ForeignKey(
        "self", null=True, on_delete=models.SET_NULL, related_name="replaces", editable=False
    )

    objects = DeviceTokenQuerySet.as_manager()

    class Meta(StoredSecret.Meta):
        db_table = "device_tokens"


class Watch(models.Model):
    """Until when a user listens to events of their devices (the view `watched_devices`)."""

    user = models.OneToOneField(User, primary_key=True, on_delete=models.CASCADE, related_name="+")
    until = models.DateTimeField()

    class Meta:
        db_table = "user_watches"

    def __str__(self) -> str:
        return f"{self.user_id} until {self.until}"


class RefusalQuerySet(models.QuerySet["Refusal"]):
    """What was refused of devices."""

    def by_code(self) -> models.QuerySet[Any, Any]:
        """`code`, `total` and `last` (when) of each reason, the most frequent first."""
        summed = self.values("code").annotate(total=Sum("count"), last=Max("last_at"))
        return summed.order_by("-total", "code")


class Refusal(models.Model):
    """How often something a device sent was refused for one reason, and the last time it was."""

    # The unique key begins with it.
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
