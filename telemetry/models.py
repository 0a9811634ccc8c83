"""Readings in a partitioned table, rollups, keys, retention rules and their state."""

from django.core.validators import MaxValueValidator
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from devices.models import Device

MAX_DECIMALS = 10


class Telemetry(models.Model):
    """One reading: the values that a device measured at one instant.

    `id` is the primary key for the ORM only. The primary key of the table is (device_id,
    recorded_at, id). A look-up by id alone would search every partition: use queries.history.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    # A trigger enforces the reference; for batches it is cheaper than a foreign key
    # (docs/decisions/0003).
    device = models.ForeignKey(
        Device,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="readings",
    )
    telemetry_type = models.CharField(max_length=64)
    payload = models.JSONField()
    recorded_at = models.DateTimeField()
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        db_table = "telemetry"
        verbose_name = _("telemetry")
        verbose_name_plural = _("telemetry")

    def __str__(self) -> str:
        return f"{self.telemetry_type} at {self.recorded_at:%Y-%m-%d %H:%M:%S}"


class Rollup(models.Model):
    """Aggregates of the numbers and booleans of a key in one hour or day (UTC).

    telemetry.rollups builds every row completely from the readings. A row is replaced, never
    incremented.
    """

    pk = models.CompositePrimaryKey("device_id", "telemetry_type", "key", "bucket")
    device = models.ForeignKey(Device, on_delete=models.CASCADE, db_index=False, related_name="+")
    telemetry_type = models.CharField(max_length=64)
    key = models.CharField(max_length=64)
    bucket = models.DateTimeField()
    """The start of the hour or day."""
    count = models.PositiveIntegerField()
    sum = models.FloatField()
    min = models.FloatField()
    max = models.FloatField()

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.telemetry_type}.{self.key} from {self.bucket:%Y-%m-%d %H:%M}"


class HourRollup(Rollup):
    """The aggregates of one hour of a key."""

    class Meta:
        db_table = "telemetry_hours"


class DayRollup(Rollup):
    """The aggregates of one day of a key, from midnight to midnight UTC."""

    class Meta:
        db_table = "telemetry_days"


class Key(models.Model):
    """The path of a value in a device's payloads, and its display format."""

    pk = models.CompositePrimaryKey("device_id", "telemetry_type", "key")
    device = models.ForeignKey(
        Device, on_delete=models.CASCADE, db_index=False, related_name="keys"
    )
    telemetry_type = models.CharField(max_length=64)
    key = models.CharField(max_length=64)
    since = models.DateTimeField()
    """The hour (UTC) of the oldest reading with this key."""
    last_hour = models.DateTimeField(null=True)
    """The newest rolled-up hour with this key, for values of any type."""
    label = models.CharField(max_length=64, blank=True)
    unit = models.CharField(max_length=16, blank=True)
    decimals = models.PositiveSmallIntegerField(
        null=True, blank=True, validators=[MaxValueValidator(MAX_DECIMALS)]
    )

    class Meta:
        db_table = "telemetry_keys"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(decimals__range=(0, MAX_DECIMALS)),
                name="telemetry_keys_decimals_in_range",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.telemetry_type}.{self.key}"


class Delivery(models.Model):
    """The first request with an Idempotency-Key; repeated requests use its time."""

    pk = models.CompositePrimaryKey("device_id", "idempotency_key")
    device = models.ForeignKey(Device, on_delete=models.CASCADE, db_index=False, related_name="+")
    idempotency_key = models.CharField(max_length=255)
    body_digest = models.BinaryField()
    received_at = models.DateTimeField()

    class Meta:
        db_table = "telemetry_deliveries"
        verbose_name_plural = "deliveries"

    def __str__(self) -> str:
        return self.idempotency_key


class RetentionRule(models.Model):
    """How many days readings and rollups are kept; NULL means forever.

    The most specific rule applies to a device: the rule of the device, or else of its type, or else
    the rule without a device and a type. Rules are not combined.
    """

    device_type = models.CharField(
        _("device type"), max_length=64, blank=True, help_text=_("For all devices of this type.")
    )
    device = models.ForeignKey(
        Device,
        verbose_name=_("device"),
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="+",
        help_text=_("For this device alone. With neither a type nor a device: for all devices."),
    )
    raw_days = models.PositiveIntegerField(
        _("readings"),
        null=True,
        blank=True,
        help_text=_("Days that readings are kept. Empty: forever, as with the other two."),
    )
    hour_days = models.PositiveIntegerField(
        _("hourly values"),
        null=True,
        blank=True,
        help_text=_("Days that the hours of charts are kept: as long as the readings, or longer."),
    )
    day_days = models.PositiveIntegerField(
        _("daily values"),
        null=True,
        blank=True,
        help_text=_("Days that the days of charts are kept: as long as the hours, or longer."),
    )

    class Meta:
        db_table = "retention_rules"
        verbose_name = _("retention rule")
        verbose_name_plural = _("retention rules")
        constraints = [
            models.UniqueConstraint(
                fields=["device_type", "device"],
                nulls_distinct=False,
                name="retention_rules_one_for_each",
                violation_error_message=_("There is a rule for these devices already."),
            ),
            models.CheckConstraint(
                condition=Q(device=None) | Q(device_type=""),
                name="retention_rules_for_a_type_or_a_device",
                violation_error_message=_("A rule is for a type or for a device, not for both."),
            ),
            models.CheckConstraint(
                condition=Q(raw_days__gte=1, hour_days__gte=1, day_days__gte=1),
                name="retention_rules_of_a_day_or_more",
                violation_error_message=_("The shortest age is one day."),
            ),
            # Rollups are rebuilt from readings and hours, so they must be kept at least as long.
            models.CheckConstraint(
                condition=(
                    Q(hour_days=None) | Q(raw_days__isnull=False, raw_days__lte=F("hour_days"))
                )
                & (Q(day_days=None) | Q(hour_days__isnull=False, hour_days__lte=F("day_days"))),
                name="retention_rules_keep_rollups_longer",
                violation_error_message=_(
                    "Hourly values are kept at least as long as readings, and daily values at"
                    " least as long as hourly ones."
                ),
            ),
        ]

    def __str__(self) -> str:
        if self.device:
            return gettext("the device %(name)s") % {"name": self.device}
        if self.device_type:
            return gettext("devices of the type %(type)s") % {"type": self.device_type}
        return gettext("all devices")


class Horizon(models.Model):
    """The instants before which retention has deleted all rows of a device."""

    device = models.OneToOneField(
        Device, on_delete=models.CASCADE, primary_key=True, related_name="+"
    )
    raw = models.DateTimeField(null=True)
    hour = models.DateTimeField(null=True)
    day = models.DateTimeField(null=True)

    class Meta:
        db_table = "telemetry_horizons"

    def __str__(self) -> str:
        return f"the horizon of {self.device}"


class Purge(models.Model):
    """The progress of deleting a decommissioned device; it is deleted with the device."""

    device = models.OneToOneField(
        Device, on_delete=models.CASCADE, primary_key=True, related_name="purge"
    )
    expected = models.BigIntegerField(
        help_text="Number of readings by the daily rollups; 0 if unknown."
    )
    gone = models.BigIntegerField(default=0)
    started_at = models.DateTimeField()

    class Meta:
        db_table = "telemetry_purges"

    def __str__(self) -> str:
        return f"the purge of {self.device}"

    @property
    def percent(self) -> int | None:
        """Return the progress in percent, or None if it is unknown."""
        return min(99, self.gone * 100 // self.expected) if self.expected else None
