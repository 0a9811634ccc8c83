"""Commands to devices and their results, the catalogue of command types, and batches."""

import uuid
from datetime import datetime
from typing import Self

from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from accounts.models import User
from devices.models import Device

MAX_ATTEMPTS = 10
"""How often a command is delivered. Without a limit, lost results would repeat it forever."""
COMMAND_NAME = r"^[A-Za-z0-9_.:-]{1,64}\Z"
DEFAULT_TTL = 3600
"""Seconds until a command expires by default."""
MAX_TTL = 30 * 24 * 3600


class CommandType(models.Model):
    """A command that devices of one type accept."""

    id = models.BigAutoField(primary_key=True)
    device_type = models.CharField(_("device type"), max_length=64)
    command_name = models.CharField(
        _("command name"), max_length=64, validators=[RegexValidator(COMMAND_NAME)]
    )
    title = models.CharField(_("title"), max_length=100)
    payload_schema = models.JSONField(
        _("payload schema"),
        default=dict,
        blank=True,
        help_text=_("JSON Schema (2020-12) that a payload must satisfy."),
    )
    confirm = models.BooleanField(
        _("confirm"), default=False, help_text=_("Ask the sender whether they are sure.")
    )
    default_expiry = models.PositiveIntegerField(
        _("default expiry"),
        default=DEFAULT_TTL,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_TTL)],
        help_text=_("Seconds that one waits for its device, unless its sender says otherwise."),
    )

    class Meta:
        db_table = "command_types"
        verbose_name = _("command type")
        verbose_name_plural = _("command types")
        ordering = ["device_type", "command_name"]
        constraints = [
            models.UniqueConstraint(
                fields=["device_type", "command_name"], name="command_types_name_unique_per_type"
            ),
            models.CheckConstraint(
                condition=Q(default_expiry__range=(1, MAX_TTL)),
                name="command_types_default_expiry_in_range",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.device_type}: {self.title}"


class CommandBatch(models.Model):
    """A command that was sent to several devices at once."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    issued_by = models.ForeignKey(
        User,
        verbose_name=_("issued by"),
        on_delete=models.SET_NULL,
        null=True,
        related_name="+",
        db_index=False,
    )
    command_name = models.CharField(_("command name"), max_length=64)
    payload = models.JSONField(_("payload"), default=dict)
    created_at = models.DateTimeField(_("created at"))
    expires_at = models.DateTimeField(
        _("expires at"), help_text=_("When the last of its commands expires.")
    )
    cancelled_at = models.DateTimeField(_("cancelled at"), null=True, blank=True)
    asked = models.PositiveIntegerField(
        _("asked"), help_text=_("How many devices it was meant for.")
    )
    refused = models.JSONField(
        _("refused"), default=list, help_text=_("The devices that got none, each with the reason.")
    )
    idempotency_key = models.CharField(max_length=255, blank=True, editable=False)
    request_digest = models.BinaryField(null=True, editable=False)

    class Meta:
        db_table = "command_batches"
        verbose_name = _("command batch")
        verbose_name_plural = _("command batches")
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(
                fields=["issued_by", "-created_at", "-id"], name="command_batches_of_issuer"
            ),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["issued_by", "idempotency_key"],
                condition=~Q(idempotency_key=""),
                name="command_batches_idempotency_key_unique",
            ),
        ]

    def __str__(self) -> str:
        words = ngettext(
            "%(name)s to %(count)s device", "%(name)s to %(count)s devices", self.asked
        )
        return words % {"name": self.command_name, "count": self.asked}


class CommandQuerySet(models.QuerySet["Command"]):
    """Queries on commands."""

    def pending_at(self, now: datetime) -> Self:
        """Return the commands that are not finished, expired or out of attempts, oldest first."""
        answerable = Q(attempts__lt=MAX_ATTEMPTS) | Q(lease_until__gt=now)
        return self.filter(answerable, status="pending", expires_at__gt=now).order_by(
            "created_at", "id"
        )


class Command(models.Model):
    """One command to one device."""

    class Status(models.TextChoices):
        PENDING = "pending", _("Pending")
        EXECUTED = "executed", _("Executed")
        FAILED = "failed", _("Failed")

    class Reason(models.TextChoices):
        """Why a command failed."""

        DEVICE = "device", _("the device could not do it")
        REJECTED = "rejected", _("the device refused it")
        EXPIRED = "expired", _("it was not carried out in time")
        CANCELLED = "cancelled", _("it was cancelled")
        ATTEMPTS = "attempts", _("the device fetched it again and again and never answered")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    device = models.ForeignKey(
        Device,
        verbose_name=_("device"),
        on_delete=models.CASCADE,
        related_name="commands",
        db_index=False,
    )
    command_name = models.CharField(
        _("command name"), max_length=64, validators=[RegexValidator(COMMAND_NAME)]
    )
    payload = models.JSONField(_("payload"), default=dict, blank=True)
    status = models.CharField(_("status"), max_length=10, choices=Status, default=Status.PENDING)
    reason = models.CharField(_("reason"), max_length=10, choices=Reason, blank=True)
    result = models.JSONField(_("result"), null=True, blank=True)
    issued_by = models.ForeignKey(
        User, verbose_name=_("issued by"), on_delete=models.SET_NULL, null=True, related_name="+"
    )
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    created_at = models.DateTimeField(_("created at"))
    delivered_at = models.DateTimeField(_("delivered at"), null=True, blank=True)
    lease_until = models.DateTimeField(_("lease until"), null=True, blank=True)
    expires_at = models.DateTimeField(_("expires at"))
    executed_at = models.DateTimeField(
        _("executed at"),
        null=True,
        blank=True,
        help_text=_("When it was carried out, by the device's own clock."),
    )
    finished_at = models.DateTimeField(
        _("finished at"),
        null=True,
        blank=True,
        help_text=_("When it ended, whatever the end, by our clock."),
    )
    late = models.BooleanField(
        _("late"),
        default=False,
        help_text=_("The answer came after it had run out of time or of attempts."),
    )
    retry_of = models.ForeignKey(
        "self",
        verbose_name=_("retry of"),
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="retries",
        db_index=False,
    )
    batch = models.ForeignKey(
        CommandBatch,
        verbose_name=_("batch"),
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="commands",
        db_index=False,
    )
    idempotency_key = models.CharField(max_length=255, blank=True, editable=False)
    request_digest = models.BinaryField(null=True, editable=False)

    objects = CommandQuerySet.as_manager()

    class Meta:
        db_table = "commands"
        verbose_name = _("command")
        verbose_name_plural = _("commands")
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(fields=["device", "-created_at", "-id"], name="commands_of_device"),
            models.Index(fields=["-created_at", "-id"], name="commands_newest"),
            models.Index(fields=["command_name"], name="commands_of_name"),
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
            # Deleting a command looks up its retries.
            models.Index(
                fields=["retry_of"], condition=Q(retry_of__isnull=False), name="commands_retries"
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
                condition=Q(attempts__lte=MAX_ATTEMPTS), name="commands_attempts_bounded"
            ),
            models.CheckConstraint(
                condition=Q(status="pending", finished_at=None)
                | ~Q(status="pending") & Q(finished_at__isnull=False),
                name="commands_finished_at_if_and_only_if_ended",
            ),
            models.UniqueConstraint(
                fields=["device", "issued_by", "idempotency_key"],
                condition=~Q(idempotency_key=""),
                name="commands_idempotency_key_unique",
            ),
            models.UniqueConstraint(
                fields=["batch", "device"],
                condition=Q(batch__isnull=False),
                name="commands_one_per_device_of_a_batch",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.command_name} ({self.status})"

    def as_of(self, now: datetime) -> "Command":
        """Return this command with its status at `now`, even if the worker has not stored it."""
        if self.status == self.Status.PENDING:
            exhausted_at = self.lease_until if self.attempts >= MAX_ATTEMPTS else None
            if exhausted_at and exhausted_at <= min(now, self.expires_at):
                self._end(self.Reason.ATTEMPTS, exhausted_at)
            elif self.expires_at <= now:
                self._end(self.Reason.EXPIRED, self.expires_at)
        return self

    def _end(self, reason: Reason, at: datetime) -> None:
        self.status, self.reason, self.finished_at = self.Status.FAILED, reason, at
