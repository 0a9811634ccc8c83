"""What staff change goes into the audit trail, and not into the admin's own log beside it."""

from typing import Any

from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from accounts.audit import log as audit
from common.admin.base import BaseModelAdmin, M


class AuditedAdmin(BaseModelAdmin[M]):
    """Tables whose every write goes through a domain function, which records it."""

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> None:  # type: ignore[override]
        pass

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> None:  # type: ignore[override]
        pass

    def log_deletions(self, request: HttpRequest, queryset: Any) -> None:  # type: ignore[override]
        pass

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: Any = None
    ) -> HttpResponse:
        """The part of the trail that is about this row."""
        trail = reverse("admin:accounts_auditevent_changelist")
        return redirect(f"{trail}?target_id={object_id}")


class AutoAuditedAdmin(AuditedAdmin[M]):
    """Tables that the admin alone writes: recorded here, in the transaction that writes them.

    The actions are `<subject>.created`, `.changed` and `.deleted`.
    """

    subject: str

    def save_model(self, request: HttpRequest, obj: M, form: Any, change: bool) -> None:
        # The object has the new values already, and the database still the old ones.
        form.told_before = (
            _audit_snapshot(type(obj)._default_manager.get(pk=obj.pk)) if change else None
        )
        super().save_model(request, obj, form, change)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        action = f"{self.subject}.changed" if change else f"{self.subject}.created"
        told = _audit_snapshot(form.instance)
        audit.record(action, target=form.instance, before=form.told_before, after=told)

    def delete_model(self, request: HttpRequest, obj: M) -> None:
        with transaction.atomic():
            audit.record(f"{self.subject}.deleted", target=obj, before=_audit_snapshot(obj))
            super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[M]) -> None:
        for obj in queryset:
            self.delete_model(request, obj)


def _audit_snapshot(obj: Model) -> dict[str, Any]:
    """The values of a row that can be edited, as JSON can hold them; of others what they are
    called.
    """
    fields = [field for field in obj._meta.fields if field.editable and not field.primary_key]
    told = {field.name: getattr(obj, field.name) for field in fields}
    for field in obj._meta.many_to_many:
        told[field.name] = sorted(map(str, getattr(obj, field.name).all()))
    return {
        name: str(value) if isinstance(value, Model) else value
        for name, value in told.items()
        if not audit.SENSITIVE_KEYS.search(name)
    }
