"""What devices are told to do, and what came of it."""

import uuid
from datetime import datetime
from typing import Self

from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q

from accounts.models import User
from devices.models import Device

ATTEMPTS = 10
"""How often a command is handed out; elsewhere a lost answer cycles for ever."""
COMMAND_NAME = r"^[A-Za-z0-9_.:-]{1,64}\Z"


class CommandType(models.Model):
    """One thing a type of device can be asked to do."""

    id = models.BigAutoField(primary_key=True)
    device_type = models.CharField(max_length=64)
    command_name = models.CharField(max_length=64, validators=[RegexValidator(COMMAND_NAME)])
    title = models.CharField(max_length=100)
    payload_schema = models.JSONField(
        default=dict, blank=True, help_text="JSON Schema (2020-12) that a payload must satisfy."
    )
    confirm = models.BooleanField(default=False, help_text="Ask the sender whether they are sure.")

    class Meta:
        db_table = "command_types"
        ordering = ["device_type", "command_name"]
        constraints = [
            models.UniqueConstraint(
                fields=["device_type", "command_name"], name="command_types_name_unique_per_type"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.device_type}: {self.title}"


class CommandQuerySet(models.QuerySet["Command"]):
    """What is still to be done."""

    def waiting(self, now: datetime) -> Self:
        """Neither finished nor expired, oldest first."""
        return self.filter(status="pending", expires_at__gt=now).order_by("created_at", "id")


class Command(models.Model):
    """One command to one device."""

    class Status(models.TextChoices):
        PENDING = "pending"
        EXECUTED = "executed"
        FAILED = "failed"

    class Reason(models.TextChoices):
        """Why a command failed."""

        DEVICE = "device", "the device could not do it"
        REJECTED = "rejected", "the device refused it"
        EXPIRED = "expired", "it was not carried out in time"
        CANCELLED = "cancelled", "it was cancelled"
        ATTEMPTS = "attempts", "the device fetched it again and again and never answered"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    device = models.ForeignKey(
        Device, on_delete=models.CASCADE, related_name="commands", db_index=False
    )
    command_name = models.CharField(max_length=64, validators=[RegexValidator(COMMAND_NAME)])
    payload = models.JSONField(default=dict, blank=True)
    status = models.CharField(max_length=10, choices=Status, default=Status.PENDING)
    reason = models.CharField(max_length=10, choices=Reason, blank=True)
    result = models.JSONField(null=True, blank=True)
    issued_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    attempts = models.PositiveSmallIntegerField(default=0)
    created_at = models.DateTimeField()
    delivered_at = models.DateTimeField(null=True, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField()
    executed_at = models.DateTimeField(null=True, blank=True)

    objects = CommandQuerySet.as_manager()

    class Meta:
        db_table = "commands"
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(fields=["device", "-created_at", "-id"], name="commands_of_device"),
            models.Index(fields=["-created_at", "-id"], name="commands_newest"),
            models.Index(
                fields=["created_at", "id"],
                condition=Q(status="pending"),
                name="commands_oldest_pending",
            ),
            models.Index(
                fields=["device", "created_at", "id"],
                condition=Q(status="pending"),
                name="commands_pending_of_device",
            ),
            models.Index(
                fields=["expires_at"], condition=Q(status="pending"), name="commands_expiring"
            ),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=["pending", "executed", "failed"]),
                name="commands_status_known",
            ),
            models.CheckConstraint(
                condition=Q(status="failed", reason__gt="") | ~Q(status="failed") & Q(reason=""),
                name="commands_reason_if_and_only_if_failed",
            ),
            models.CheckConstraint(
                condition=Q(status="executed", executed_at__isnull=False) | ~Q(status="executed"),
                name="commands_executed_has_a_time",
            ),
            models.CheckConstraint(
                condition=Q(expires_at__gt=models.F("created_at")),
                name="commands_expire_after_creation",
            ),
            models.CheckConstraint(
                condition=Q(attempts__lte=ATTEMPTS), name="commands_attempts_bounded"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.command_name} ({self.status})"

    def as_of(self, now: datetime) -> "Command":
        """This command as it stands at `now`, whether or not the worker has noted its end."""
        if self.status == self.Status.PENDING:
            if self.expires_at <= now:
                self.status, self.reason = self.Status.FAILED, self.Reason.EXPIRED
            elif self.attempts >= ATTEMPTS and self.lease_until and self.lease_until <= now:
                self.status, self.reason = self.Status.FAILED, self.Reason.ATTEMPTS
        return self
