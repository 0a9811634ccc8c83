"""The admin of the worker's jobs."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from procrastinate.contrib.django import app
from procrastinate.contrib.django.models import ProcrastinateJob

from accounts.audit.read_only_admin import ReadOnlyAdmin
from common.admin.keyset_pagination import KeysetAdmin

STATES = {"succeeded": "executed", "failed": "failed", "aborted": "failed", "doing": "delivered"}
"""The CSS class of each job status: that of a command status."""

# The admin page of procrastinate uses inline styles, which our Content-Security-Policy forbids.
admin.site.unregister(ProcrastinateJob)


class TaskFilter(admin.SimpleListFilter):
    """Filters by the tasks of the code, without a query for distinct names in the table."""

    title = _("task")
    parameter_name = "task"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        names = sorted(name for name in app.tasks if not name.startswith("builtin:"))
        return [(name, name.rpartition(".")[2]) for name in names]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(task_name=self.value()) if self.value() else queryset


@admin.register(ProcrastinateJob)
class JobAdmin(ReadOnlyAdmin[ProcrastinateJob], KeysetAdmin[ProcrastinateJob]):
    """Read-only: only the worker changes jobs."""

    ordering_key = ("id",)
    list_display = ("id", "task", "state", "attempts", "scheduled_at")
    list_filter = ("status", TaskFilter)
    ordering = ("-id",)

    @admin.display(description=_("task"))
    def task(self, job: ProcrastinateJob) -> str:
        return job.task_name.rpartition(".")[2]

    @admin.display(description=_("status"))
    def state(self, job: ProcrastinateJob) -> SafeString:
        css_class = STATES.get(job.status, "waiting")
        return format_html('<span class="state {}">{}</span>', css_class, job.status)
