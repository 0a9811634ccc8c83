"""Password pages."""

from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.decorators import login_required
from django.contrib.auth.forms import SetPasswordForm
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from accounts.authentication.requests import AuthenticatedRequest
from accounts.passwords import services as passwords
from accounts.passwords.forms import ChangePasswordForm
from common.request_pools import PASSWORDS, in_pool

NO_PASSWORD_NOTICE_READ = "no_password_notice_read"  # noqa: S105 - a key of the session


@in_pool(PASSWORDS)
@sensitive_post_parameters()
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def set_password(request: AuthenticatedRequest) -> HttpResponse:
    """Set the first password, or change the current one."""
    form_class = ChangePasswordForm if request.user.has_usable_password() else SetPasswordForm
    form = form_class(request.user, request.POST if request.method == "POST" else None)
    if not form.is_valid():
        status = 422 if form.is_bound else 200
        return render(request, "accounts/password.html", {"form": form}, status=status)
    passwords.set_password(request.user, form.cleaned_data["new_password1"])
    update_session_auth_hash(request, request.user)
    messages.success(request, _("Your password is set. All other sessions have been signed out."))
    return redirect("home")


@login_required
@require_POST
def dismiss_password_notice(request: AuthenticatedRequest) -> HttpResponse:
    """Hide the notice about the missing password for the rest of the session."""
    request.session[NO_PASSWORD_NOTICE_READ] = True
    return redirect("home")
