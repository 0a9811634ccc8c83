"""The sessions page of a user."""

from functools import lru_cache
from typing import Any
from uuid import UUID

import ua_parser
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Q
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from accounts.authentication.requests import AuthenticatedRequest
from accounts.models import Session
from accounts.sessions import services as sessions

MAX_SESSIONS_DISPLAYED = 100


@login_required
@require_safe
def sessions_page(request: AuthenticatedRequest) -> HttpResponse:
    """Show the current session first, then the others, last seen first."""
    active = sessions.active_for_user(request.user, now=timezone.now())
    current = Q(key_hash=sessions.get_session_store(request).key_hash)
    rows = [*active.filter(current), *active.exclude(current)[:MAX_SESSIONS_DISPLAYED]]
    context = {
        "sessions": [_session_context(request, row) for row in rows[:MAX_SESSIONS_DISPLAYED]],
        "more": max(0, active.count() - MAX_SESSIONS_DISPLAYED),
    }
    return render(request, "accounts/sessions.html", context)


@login_required
@require_POST
def end_session(request: AuthenticatedRequest, session_id: UUID) -> HttpResponse:
    """End one session."""
    try:
        sessions.end_session(request.user, session_id)
    except Session.DoesNotExist:
        raise Http404 from None
    messages.success(request, _("The session has been signed out."))
    return redirect("sessions")


@login_required
@require_POST
def end_others(request: AuthenticatedRequest) -> HttpResponse:
    """End all sessions except the current one."""
    sessions.end_others(request.user, current=sessions.get_session_store(request))
    messages.success(request, _("All other sessions have been signed out."))
    return redirect("sessions")


def _session_context(request: AuthenticatedRequest, session: Session) -> dict[str, Any]:
    return {
        "session": session,
        "current": bytes(session.key_hash) == sessions.get_session_store(request).key_hash,
        "device": describe_user_agent(session.user_agent),
    }


def describe_user_agent(user_agent: str) -> str:
    """Return the browser and the system of a User-Agent: `Firefox on Linux`."""
    browser, system = _parse(user_agent)
    if browser and system:
        return _("%(browser)s on %(system)s") % {"browser": browser, "system": system}
    return browser or system or _("Unknown browser")


@lru_cache(maxsize=1024)
def _parse(user_agent: str) -> tuple[str, str]:
    """Return the browser and the system, "" if unknown. Cached: parsing takes milliseconds."""
    found = ua_parser.parse(user_agent)
    browser = found.user_agent.family if found.user_agent else ""
    return browser, found.os.family if found.os else ""
