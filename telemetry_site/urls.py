"""The routes of the site: each app's own two lists, below their prefixes."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

import accounts.urls
import commands.urls
import devices.urls
import telemetry.urls
from telemetry_site import pages, well_known
from telemetry_site.openapi import SchemaView

api = [
    *accounts.urls.api,
    *devices.urls.api,
    *telemetry.urls.api,
    *commands.urls.api,
    path("schema", SchemaView.as_view(), name="schema"),
]

admin.site.site_header = admin.site.site_title = "Telemetry administration"
admin.site.index_title = "Tables"

urlpatterns = [
    path("api/v1/", include(api)),
    path("admin", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    *accounts.urls.pages,
    *devices.urls.pages,
    *telemetry.urls.pages,
    *commands.urls.pages,
    path(".well-known/security.txt", well_known.security_txt),
    path("", pages.home, name="home"),
    path("devices/rows", pages.device_rows, name="device-rows"),
    path("devices/<uuid:device_id>", pages.device_page, name="device"),
    path("devices/<uuid:device_id>/now", pages.device_now, name="device-now"),
    path("devices/<uuid:device_id>/readings", pages.device_readings, name="device-readings"),
    path("devices/<uuid:device_id>/first", pages.first_reading, name="device-first-reading"),
]

handler400 = "telemetry_site.errors.bad_request"
handler403 = "telemetry_site.errors.permission_denied"
handler404 = "telemetry_site.errors.not_found"
handler500 = "telemetry_site.errors.server_error"
