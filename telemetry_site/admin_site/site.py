"""The admin site, with an overview on its index page."""

from typing import Any

from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.authentication import login
from telemetry_site.admin_site import overview

NAMES = {"auth": _("Permissions"), "procrastinate": _("Worker"), "ProcrastinateJob": _("Jobs")}
"""Names for apps and models of other packages."""


class TelemetryAdminSite(AdminSite):
    """Django's admin with the overview and the sign-in of the site (see urls.py)."""

    site_header = site_title = _("Telemetry administration")
    index_title = _("Overview")

    def index(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> TemplateResponse:
        context = {**(extra_context or {})}
        if request.user.has_perm("devices.view_device"):
            context |= overview.overview_context(timezone.now())
        return super().index(request, context)

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        apps = super().get_app_list(request, app_label)
        for app in apps:
            app["name"] = NAMES.get(app["app_label"], app["name"])
            for model in app["models"]:
                model["name"] = NAMES.get(model["object_name"], model["name"])
        return apps

    def logout(self, request: HttpRequest, extra_context: Any = None) -> Any:
        return login.sign_out(request)
