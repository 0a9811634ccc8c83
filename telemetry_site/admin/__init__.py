"""The admin's doors of the roof: what shows several apps at once, and the tables of others."""

from telemetry_site.admin import devices, jobs

__all__ = ["devices", "jobs"]
