"""The confirmation page of an admin action."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.forms import BaseForm
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext

MAX_ROWS = 500
"""Rows of one action. The confirmation form contains the id of each."""
MAX_NAMES = 20
"""Rows whose names are displayed."""


def is_confirmed(request: HttpRequest) -> bool:
    """Return whether the request is the submitted confirmation form."""
    return request.POST.get("confirmed") == "yes"


def selected_or_error(
    model_admin: admin.ModelAdmin[Any],
    request: HttpRequest,
    queryset: "QuerySet[Any]",
    *,
    limit: int = MAX_ROWS,
) -> list[Any]:
    """Return the rows. If there are too many, add an error message and return none."""
    rows = list(queryset[: limit + 1])
    if len(rows) > limit:
        message = gettext("Select at most %(limit)d rows.") % {"limit": limit}
        model_admin.message_user(request, message, level=messages.ERROR)
        return []
    return rows


def render_confirmation(
    model_admin: admin.ModelAdmin[Any],
    request: HttpRequest,
    rows: Sequence[Any],
    *,
    title: str,
    message: str,
    button: str,
    form: BaseForm | None = None,
    danger: bool = False,
) -> HttpResponse:
    """Render the confirmation page. Its form calls the same action again, with `confirmed`."""
    context = {
        **model_admin.admin_site.each_context(request),
        "title": title,
        "message": message,
        "button": button,
        "form": form,
        "danger": danger,
        "rows": rows,
        "named": rows[:MAX_NAMES],
        "more": max(0, len(rows) - MAX_NAMES),
        "action": request.POST.get("action", ""),
        "checkbox": ACTION_CHECKBOX_NAME,
        "opts": model_admin.opts,
        "media": model_admin.media + (form.media if form else model_admin.media),
    }
    status = 422 if form is not None and form.errors else 200
    return TemplateResponse(request, "admin/confirm_action.html", context, status=status)
