from django.apps import AppConfig


class SiteConfig(AppConfig):
    name = "telemetry_site"

    def ready(self) -> None:
        # Registering checks is what the framework has this method for.
        from telemetry_site import checks  # noqa: F401
