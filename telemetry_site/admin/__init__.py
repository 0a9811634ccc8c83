"""Admin pages that combine several apps, and admin pages for tables of other packages."""

from telemetry_site.admin import devices, jobs

__all__ = ["devices", "jobs"]
