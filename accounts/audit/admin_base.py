"""Base classes that record changes by staff in the audit trail instead of Django's admin log."""

from typing import Any

from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from accounts.audit import log as audit
from common.admin.base import BaseModelAdmin, M


class AuditedAdmin(BaseModelAdmin[M]):
    """For tables that are written by service functions only; the service functions record."""

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> None:  # type: ignore[override]
        pass

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> None:  # type: ignore[override]
        pass

    def log_deletions(self, request: HttpRequest, queryset: Any) -> None:  # type: ignore[override]
        pass

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: Any = None
    ) -> HttpResponse:
        """Redirect to the audit events of this row."""
        trail = reverse("admin:accounts_auditevent_changelist")
        return redirect(f"{trail}?target_id={object_id}")


class AutoAuditedAdmin(AuditedAdmin[M]):
    """For tables that only the admin writes. Record each write in its transaction.

    The actions are `<audit_category>.created`, `.changed` and `.deleted`.
    """

    audit_category: str

    def save_model(self, request: HttpRequest, obj: M, form: Any, change: bool) -> None:
        # `obj` already has the new values; the row still has the old ones.
        form.audit_before = (
            _audit_snapshot(type(obj)._default_manager.get(pk=obj.pk)) if change else None
        )
        super().save_model(request, obj, form, change)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        action = f"{self.audit_category}.changed" if change else f"{self.audit_category}.created"
        after = _audit_snapshot(form.instance)
        audit.record(action, target=form.instance, before=form.audit_before, after=after)

    def delete_model(self, request: HttpRequest, obj: M) -> None:
        with transaction.atomic():
            audit.record(f"{self.audit_category}.deleted", target=obj, before=_audit_snapshot(obj))
            super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[M]) -> None:
        for obj in queryset:
            self.delete_model(request, obj)


def _audit_snapshot(obj: Model) -> dict[str, Any]:
    """Return the editable values of a row for JSON. A related row is given by its name."""
    fields = [field for field in obj._meta.fields if field.editable and not field.primary_key]
    values = {field.name: getattr(obj, field.name) for field in fields}
    for field in obj._meta.many_to_many:
        values[field.name] = sorted(map(str, getattr(obj, field.name).all()))
    return {
        name: str(value) if isinstance(value, Model) else value
        for name, value in values.items()
        if not audit.SENSITIVE_KEYS.search(name)
    }
