from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig


class SiteConfig(AppConfig):
    name = "telemetry_site"

    def ready(self) -> None:
        # Registering checks is what the framework has this method for.
        from telemetry_site.operations import checks  # noqa: F401


class StaffConfig(AdminConfig):
    """The framework's admin with our index and our sign-in."""

    default_site = "telemetry_site.admin_site.site.TelemetryAdminSite"
