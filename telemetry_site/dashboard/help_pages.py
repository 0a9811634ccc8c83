"""The help page and the page of limits."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from telemetry_site import limits


@require_safe
def help_page(request: HttpRequest) -> HttpResponse:
    """The help page: the states of devices and commands, and how to use charts."""
    return render(request, "help.html")


@require_safe
def limits_page(request: HttpRequest) -> HttpResponse:
    """The page of limits."""
    return render(request, "limits.html", {"groups": limits.groups()})
