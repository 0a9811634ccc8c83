"""Readings, in a table partitioned by month."""

from django.db import models
from django.utils import timezone

from devices.models import Device


class Telemetry(models.Model):
    """One reading: what a device says it measured at one instant.

    `id` is the primary key to the ORM only. The table's own is (device_id, recorded_at, id), so
    a look-up by id alone would visit every partition: use telemetry.history instead.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    # Held by a trigger, which is cheaper than a foreign key for batches (docs/decisions/0003).
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
        verbose_name_plural = "telemetry"

    def __str__(self) -> str:
        return f"{self.telemetry_type} at {self.recorded_at:%Y-%m-%d %H:%M:%S}"
