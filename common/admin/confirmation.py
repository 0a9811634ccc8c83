"""The page between what is chosen in a list of the admin and what is done to it."""

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
"""Rows that one action is taken on; each of them is named in the form that confirms it."""
MAX_NAMES = 20
"""Rows whose names are shown."""


def is_confirmed(request: HttpRequest) -> bool:
    """Whether the form of this page has been sent."""
    return request.POST.get("confirmed") == "yes"


def selected_or_error(
    model_admin: admin.ModelAdmin[Any],
    request: HttpRequest,
    queryset: "QuerySet[Any]",
    *,
    limit: int = MAX_ROWS,
) -> list[Any]:
    """The rows, or none and a message if they are too many."""
    rows = list(queryset[: limit + 1])
    if len(rows) > limit:
        words = gettext("At most %(limit)d at once. Choose fewer.") % {"limit": limit}
        model_admin.message_user(request, words, level=messages.ERROR)
        return []
    return rows


def render_confirmation(
    model_admin: admin.ModelAdmin[Any],
    request: HttpRequest,
    rows: Sequence[Any],
    *,
    title: str,
    words: str,
    button: str,
    form: BaseForm | None = None,
    danger: bool = False,
) -> HttpResponse:
    """Ask whether that is meant. It goes to the action that asks, which finds `confirmed` then."""
    context = {
        **model_admin.admin_site.each_context(request),
        "title": title,
        "words": words,
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
