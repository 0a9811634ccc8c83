from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig


class SiteConfig(AppConfig):
    name = "telemetry_site"

    def ready(self) -> None:
        # The import registers the system checks.
        from telemetry_site.operations import checks  # noqa: F401


class StaffConfig(AdminConfig):
    """Django's admin with our index page and our sign-in."""

    default_site = "telemetry_site.admin_site.site.TelemetryAdminSite"
