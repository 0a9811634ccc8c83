"""The routes of the site: each app's own two lists, below their prefixes."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

import accounts.urls
import accounts.views
import commands.urls
import devices.urls
import telemetry.urls
from telemetry_site import (
    account_api,
    account_pages,
    device_list,
    history_page,
    pages,
    reference,
    token_pages,
    well_known,
)
from telemetry_site.live.door import Events
from telemetry_site.openapi import SchemaView

api = [
    *accounts.urls.api,
    *devices.urls.api,
    *telemetry.urls.api,
    *commands.urls.api,
    path("users/me", account_api.Me.as_view()),
    path("users/me/archive", account_api.OwnArchive.as_view()),
    path("users/me/archive/file", account_api.ArchiveFile.as_view()),
    path("events", Events.as_view()),
    path("schema", SchemaView.as_view(), name="schema"),
]

urlpatterns = [
    path("api/v1/", include(api)),
    path("admin", RedirectView.as_view(pattern_name="admin:index")),
    # Before the admin's own, which would let people in by the password alone, and change it.
    path("admin/login/", accounts.views.sign_in_to_admin),
    path("admin/password_change/", RedirectView.as_view(pattern_name="set-password")),
    path("admin/", admin.site.urls),
    *accounts.urls.pages,
    *devices.urls.pages,
    *telemetry.urls.pages,
    *commands.urls.pages,
    path("account/data", account_pages.data, name="own-data"),
    path("account/data/archive.zip", account_pages.archive_file, name="archive-file"),
    path("account/delete", account_pages.delete, name="delete-account"),
    path("goodbye", account_pages.goodbye, name="goodbye"),
    path(".well-known/security.txt", well_known.security_txt),
    path("tokens", token_pages.tokens_page, name="tokens"),
    path("tokens/new", token_pages.new, name="token-new"),
    path("tokens/<uuid:token_id>/rotate", token_pages.rotate, name="token-rotate"),
    path("tokens/<uuid:token_id>/revoke", token_pages.revoke, name="token-revoke"),
    path("devices/<uuid:device_id>/tokens", token_pages.tokens_of_device, name="device-tokens"),
    path("devices/<uuid:device_id>/tokens/new", token_pages.new_of_device, name="device-token-new"),
    path(
        "devices/<uuid:device_id>/tokens/<uuid:token_id>/rotate",
        token_pages.rotate_of_device,
        name="device-token-rotate",
    ),
    path(
        "devices/<uuid:device_id>/tokens/<uuid:token_id>/revoke",
        token_pages.revoke_of_device,
        name="device-token-revoke",
    ),
    path("", device_list.home, name="home"),
    path("help", pages.help_page, name="help"),
    path("help/api", reference.reference, name="reference"),
    path("help/limits", pages.limits_page, name="limits"),
    path("devices/rows", device_list.device_rows, name="device-rows"),
    path("devices/<uuid:device_id>", pages.device_page, name="device"),
    path("devices/<uuid:device_id>/history", history_page.history_page, name="device-history"),
    path("devices/<uuid:device_id>/now", pages.device_now, name="device-now"),
    path("devices/<uuid:device_id>/readings", pages.device_readings, name="device-readings"),
    path("devices/<uuid:device_id>/first", pages.first_reading, name="device-first-reading"),
]

handler400 = "telemetry_site.errors.bad_request"
handler403 = "telemetry_site.errors.permission_denied"
handler404 = "telemetry_site.errors.not_found"
handler500 = "telemetry_site.errors.server_error"
