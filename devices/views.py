"""Adding a device."""

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from accounts.views import SignedInRequest
from devices import enrolment
from devices.forms import NewDeviceForm


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def new(request: SignedInRequest) -> HttpResponse:
    """Register a device and show its token, this once.

    The token is in this answer and nowhere else. A redirect to a page that shows it would have to
    keep it meanwhile: in the URL, or in a session, whose row in the database is no place for it.
    """
    form = NewDeviceForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        try:
            device, secret = enrolment.register(request.user, **form.cleaned_data)
        except ValidationError as error:
            form.add_error(None, error)
        else:
            context = {"device": device, "token": secret.text, "site": settings.PUBLIC_URL}
            return render(request, "devices/created.html", context)
    status = 422 if form.is_bound else 200
    return render(request, "devices/new.html", {"form": form}, status=status)
