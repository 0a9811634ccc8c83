"""The page of a user's own activity."""

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
SUBJECTS_OF_USERS = [
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
    """The user's own audit trail, page by page."""
    subject = request.GET.get("about", "")
    subject = subject if subject in SUBJECTS_OF_USERS else ""
    events = AuditEvent.objects.of(request.user)
    events = events.about(subject) if subject else events
    if place := _parse_cursor(request.GET.get("before", "")):
        events = events.before(*place)
    found = list(events[: PAGE_SIZE + 1])
    older = found[PAGE_SIZE - 1] if found[PAGE_SIZE:] else None
    context = {
        "events": found[:PAGE_SIZE],
        "older": older and f"{older.created_at.isoformat()}/{older.pk}",
        "paged": bool(place),
        "subject": subject,
        "subjects": [
            ("", _("All")),
            *((name, CATEGORY_LABELS[name]) for name in SUBJECTS_OF_USERS),
        ],
    }
    return render(request, "accounts/activity.html", context)


def _parse_cursor(text: str) -> tuple[datetime, UUID] | None:
    """Where a page begins; made-up ones are the first page."""
    time, _slash, id = text.partition("/")
    try:
        found = parse_datetime(time)
        return (found, UUID(id)) if found and found.tzinfo else None
    except ValueError:
        return None
