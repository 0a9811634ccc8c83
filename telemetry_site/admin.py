"""The worker's jobs, for staff."""

from django.contrib import admin
from procrastinate.contrib.django.models import ProcrastinateJob

from accounts.read_only import ReadOnlyAdmin

# Its own page is made of inline styles, which our Content-Security-Policy forbids.
admin.site.unregister(ProcrastinateJob)


@admin.register(ProcrastinateJob)
class JobAdmin(ReadOnlyAdmin[ProcrastinateJob]):
    """To be looked at only: a job's state is the worker's."""

    list_display = ("id", "task_name", "status", "attempts", "scheduled_at")
    list_filter = ("status", "task_name")
    ordering = ("-id",)
    show_full_result_count = False
