"""Pages that list, create, rotate and revoke the tokens of the user and of their devices.

A new token is displayed once, in the response to the form, as in devices.views.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.db.models.functions import Lower
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_safe

from accounts.authentication.login import require_mfa_code
from accounts.authentication.requests import AuthenticatedRequest
from accounts.models import Token, active_tokens
from accounts.tokens import format as token_format
from accounts.tokens import services as tokens
from devices import services as device_services
from devices.models import UNUSED_AFTER, Device, DeviceToken

TOKENS_PER_PAGE = 50
DEVICE_TOKENS_PER_PAGE = 100
LIFETIMES = [
    (7, gettext_lazy("7 days")),
    (30, gettext_lazy("30 days")),
    (90, gettext_lazy("90 days")),
    (365, gettext_lazy("1 year")),
    (5 * 365, gettext_lazy("5 years")),
]


class TokenForm(forms.Form):
    """A new token of the user."""

    label = forms.CharField(
        label=gettext_lazy("Label"),
        max_length=100,
        help_text=gettext_lazy("A name for the token, such as “Backup on the NAS”."),
        widget=forms.TextInput(attrs={"autofocus": True, "autocomplete": "off"}),
    )
    access = forms.ChoiceField(
        label=gettext_lazy("Access"),
        choices=Token.Access.choices,
        initial=Token.Access.READ,
    )
    days = forms.TypedChoiceField(
        label=gettext_lazy("Expires after"), choices=LIFETIMES, coerce=int, initial=90
    )


class DeviceTokenForm(forms.Form):
    """An additional token of a device."""

    label = forms.CharField(
        label=gettext_lazy("Label"),
        max_length=100,
        help_text=gettext_lazy("A name for the token, such as “Second program”."),
        widget=forms.TextInput(attrs={"autofocus": True, "autocomplete": "off"}),
    )


@login_required
@require_safe
def tokens_page(request: AuthenticatedRequest) -> HttpResponse:
    """All tokens of the user and of their devices."""
    now = timezone.now()
    own = Paginator(_own(request), TOKENS_PER_PAGE).get_page(request.GET.get("own"))
    return render(request, "tokens/list.html", {**_device_tokens_context(request, now), "own": own})


@login_required
@require_safe
def tokens_of_device(request: AuthenticatedRequest, device_id: UUID) -> HttpResponse:
    """The tokens of one device."""
    device = get_object_or_404(Device.objects.visible_to(request.user), pk=device_id)
    context = {**_device_tokens_context(request, timezone.now(), device=device), "device": device}
    return render(request, "tokens/list.html", context)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@require_mfa_code
def new(request: AuthenticatedRequest) -> HttpResponse:
    """Create a token of the user and display it once."""
    form = TokenForm(request.POST if request.method == "POST" else None)
    if not form.is_valid():
        return _render_form(request, {"form": form, "title": _("New token")})
    data = form.cleaned_data
    token, secret = tokens.issue(
        request.user,
        scope=tokens.Scope.AUTH,
        now=timezone.now(),
        label=data["label"],
        access=data["access"],
        lifetime=timedelta(days=data["days"]),
    )
    return _render_new_token(request, token, secret)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@require_mfa_code
def new_of_device(request: AuthenticatedRequest, device_id: UUID) -> HttpResponse:
    """Create an additional token of a device and display it once."""
    device = get_object_or_404(Device.objects.visible_to(request.user), pk=device_id)
    form = DeviceTokenForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        try:
            return _render_new_token(
                request, *device_services.issue_token(device, **form.cleaned_data)
            )
        except Device.DoesNotExist:
            raise Http404 from None
        except device_services.TooManyTokens:
            form.add_error(None, _("This device has too many tokens. Revoke one of them first."))
    return _render_form(request, {"form": form, "device": device, "title": _("New token")})


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@require_mfa_code
def rotate(request: AuthenticatedRequest, token_id: UUID) -> HttpResponse:
    """Ask for confirmation, then replace a token of the user by a new one."""
    token = get_object_or_404(_own(request), pk=token_id)
    return _rotate_view(request, token, lambda: tokens.rotate(token, now=timezone.now()))


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def revoke(request: AuthenticatedRequest, token_id: UUID) -> HttpResponse:
    """Ask for confirmation, then revoke a token of the user."""
    return _revoke_view(request, get_object_or_404(_own(request), pk=token_id))


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@require_mfa_code
def rotate_of_device(
    request: AuthenticatedRequest, device_id: UUID, token_id: UUID
) -> HttpResponse:
    """Ask for confirmation, then replace a token of a device by a new one. The old one stays valid
    for ROTATION_GRACE.
    """
    token = _of_device(request, device_id, token_id)
    return _rotate_view(
        request, token, lambda: device_services.rotate_one_token(token, now=timezone.now())
    )


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def revoke_of_device(
    request: AuthenticatedRequest, device_id: UUID, token_id: UUID
) -> HttpResponse:
    """Ask for confirmation, then revoke a token of a device."""
    return _revoke_view(request, _of_device(request, device_id, token_id))


def _own(request: AuthenticatedRequest) -> QuerySet[Token]:
    active = active_tokens(timezone.now())
    own = Token.objects.filter(active, user=request.user, scope=tokens.Scope.AUTH)
    return own.order_by("-created_at", "-id")


def _device_tokens_context(
    request: AuthenticatedRequest, now: datetime, **filters: Any
) -> dict[str, Any]:
    found = (
        DeviceToken.objects.visible_to(request.user)
        .filter(active_tokens(now), **filters)
        .annotate_unused(now)
        .select_related("device", "replaced_by")
        .order_by(Lower("device__name"), "device_id", "-created_at")
    )
    return {
        "page": Paginator(found, DEVICE_TOKENS_PER_PAGE).get_page(request.GET.get("page")),
        "unused": found.unused(now).count(),
        "unused_days": UNUSED_AFTER.days,
    }


def _of_device(request: AuthenticatedRequest, device_id: UUID, token_id: UUID) -> DeviceToken:
    visible = DeviceToken.objects.visible_to(request.user).select_related("device")
    return get_object_or_404(visible, active_tokens(timezone.now()), device=device_id, pk=token_id)


def _rotate_view(
    request: AuthenticatedRequest,
    token: Token | DeviceToken,
    replace: Callable[[], tuple[Token | DeviceToken, token_format.PlaintextToken]],
) -> HttpResponse:
    if request.method != "POST":
        return render(request, "tokens/rotate.html", {"token": token, "grace": _grace()})
    try:
        return _render_new_token(request, *replace())
    except (tokens.InvalidToken, Device.DoesNotExist):
        # It has ended or was replaced, or its device was transferred, after the page was rendered.
        raise Http404 from None


def _revoke_view(request: AuthenticatedRequest, token: Token | DeviceToken) -> HttpResponse:
    if request.method != "POST":
        return render(request, "tokens/revoke.html", {"token": token})
    tokens.revoke(token)
    messages.success(request, _("The token has been revoked."))
    return redirect("tokens")


def _render_form(request: AuthenticatedRequest, context: dict[str, Any]) -> HttpResponse:
    status = 422 if context["form"].is_bound else 200
    return render(request, "tokens/new.html", context, status=status)


def _render_new_token(
    request: AuthenticatedRequest, token: Token | DeviceToken, secret: token_format.PlaintextToken
) -> HttpResponse:
    context = {"token": token, "secret": secret.text, "site": settings.PUBLIC_URL}
    return render(request, "tokens/shown.html", context)


def _grace() -> int:
    return device_services.ROTATION_GRACE // timedelta(minutes=1)
