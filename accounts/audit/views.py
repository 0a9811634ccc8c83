"""The activity page: a user's own audit trail."""

from datetime import datetime
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import render
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from accounts.audit.actions import CATEGORY_LABELS
from accounts.authentication.requests import AuthenticatedRequest
from accounts.models import AuditEvent

PAGE_SIZE = 50
CATEGORIES = [
    "sign_in",
    "session",
    "second_factor",
    "password",
    "address",
    "token",
    "device",
    "command",
    "user",
    "retention",
]


@login_required
@require_safe
def activity(request: AuthenticatedRequest) -> HttpResponse:
    """Show the user's own audit trail, one page at a time."""
    category = request.GET.get("about", "")
    category = category if category in CATEGORIES else ""
    events = AuditEvent.objects.for_owner(request.user)
    events = events.in_category(category) if category else events
    if cursor := _parse_cursor(request.GET.get("before", "")):
        events = events.older_than(*cursor)
    found = list(events[: PAGE_SIZE + 1])
    older = found[PAGE_SIZE - 1] if found[PAGE_SIZE:] else None
    context = {
        "events": found[:PAGE_SIZE],
        "older": older and f"{older.created_at.isoformat()}/{older.pk}",
        "paged": bool(cursor),
        "category": category,
        "categories": [
            ("", _("All")),
            *((name, CATEGORY_LABELS[name]) for name in CATEGORIES),
        ],
    }
    return render(request, "accounts/activity.html", context)


def _parse_cursor(text: str) -> tuple[datetime, UUID] | None:
    """Return the time and the id of a cursor, or None if it is invalid."""
    time, _slash, id = text.partition("/")
    try:
        found = parse_datetime(time)
        return (found, UUID(id)) if found and found.tzinfo else None
    except ValueError:
        return None
