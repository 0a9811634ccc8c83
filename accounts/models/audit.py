"""Audit events."""

import uuid
from datetime import datetime
from typing import Self

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from accounts.audit.actions import ACTION_LABELS
from accounts.models.users import User


class AuditEventQuerySet(models.QuerySet["AuditEvent"]):
    """Audit events filtered by owner, category, target or time."""

    def for_owner(self, user: User) -> Self:
        """Return the events of the user's own trail."""
        return self.filter(owner=user)

    def in_category(self, category: str) -> Self:
        """Return the events of a category (`token`), or of one action (`token.issued`)."""
        return self.filter(Q(action=category) | Q(action__startswith=f"{category}."))

    def for_target(self, target: models.Model) -> Self:
        """Return the events of this row, newest first."""
        return self.filter(target_id=str(target.pk)).order_by("-created_at", "-id")

    def older_than(self, time: datetime, id: uuid.UUID) -> Self:
        """Return the events that are older than the event with this time and id."""
        # PostgreSQL uses the index only for the bound on created_at.
        return self.filter(Q(created_at__lt=time) | Q(id__lt=id), created_at__lte=time)


class AuditEvent(models.Model):
    """One event of the audit trail. Only accounts.audit.log inserts events.

    A trigger rejects updates (docs/decisions/0021).
    """

    class Means(models.TextChoices):
        """How the actor was authenticated."""

        ANONYMOUS = "nothing", _("not signed in")
        SESSION = "session", _("browser")
        TOKEN = "token", _("API token")
        DEVICE = "device", _("device token")
        COMMAND_LINE = "command_line", _("command line")
        WORKER = "worker", _("background worker")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    created_at = models.DateTimeField(_("time"))
    action = models.CharField(_("action"), max_length=64)
    # The user whose trail has this event. accounts.audit.log.delete_for_user deletes both.
    owner = models.ForeignKey(
        User,
        verbose_name=_("owner"),
        on_delete=models.PROTECT,
        null=True,
        db_index=False,
        related_name="+",
    )
    # Not a foreign key: the event stays after the account is deleted, and rows cannot be updated.
    actor_id = models.UUIDField(_("actor id"), null=True)
    actor_name = models.CharField(_("who"), max_length=150, blank=True)
    means = models.CharField(_("by"), max_length=16, choices=Means)
    means_id = models.CharField(_("means id"), max_length=64, blank=True)
    means_name = models.CharField(_("means name"), max_length=128, blank=True)
    address = models.GenericIPAddressField(_("from"), null=True)
    target_kind = models.CharField(_("target kind"), max_length=64, blank=True)
    target_id = models.CharField(_("target id"), max_length=64, blank=True)
    target_name = models.CharField(_("what"), max_length=254, blank=True)
    before = models.JSONField(_("before"), null=True, encoder=DjangoJSONEncoder)
    after = models.JSONField(_("after"), null=True, encoder=DjangoJSONEncoder)

    objects = AuditEventQuerySet.as_manager()

    class Meta:
        db_table = "audit_events"
        verbose_name = _("audit event")
        verbose_name_plural = _("audit events")
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(fields=["owner", "-created_at", "-id"], name="audit_events_of_owner"),
            models.Index(fields=["-created_at", "-id"], name="audit_events_newest"),
            models.Index(fields=["target_id", "-created_at", "-id"], name="audit_events_about"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(action__regex=r"^[a-z_]+\.[a-z_]+$"), name="audit_events_action_dotted"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.target_name}".strip()

    @property
    def action_label(self) -> str:
        """The translated name of the action."""
        return str(ACTION_LABELS.get(self.action, self.action))

    @property
    def ip_address_for_owner(self) -> str | None:
        """The IP address, for the owner of the trail. The addresses of staff are hidden."""
        return self.address if self.actor_id in (None, self.owner_id) else None
