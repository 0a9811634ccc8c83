"""The routes of the site: the API and the pages of each app, and those of the site itself."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

import accounts.urls
import commands.urls
import devices.urls
import telemetry.urls
from accounts.authentication.views import redirect_admin_login
from telemetry_site import security_txt
from telemetry_site.account_data import api as account_data_api
from telemetry_site.account_data import views as account_data_views
from telemetry_site.api import reference
from telemetry_site.api.events import EventStreamRedirectView
from telemetry_site.api.openapi import SchemaView
from telemetry_site.dashboard import device_list, device_page, help_pages, history_page, token_pages

api = [
    *accounts.urls.api,
    *devices.urls.api,
    *telemetry.urls.api,
    *commands.urls.api,
    path("users/me", account_data_api.DeleteAccountView.as_view()),
    path("users/me/archive", account_data_api.DataExportView.as_view()),
    path("users/me/archive/file", account_data_api.DataExportFileView.as_view()),
    path("events", EventStreamRedirectView.as_view()),
    path("schema", SchemaView.as_view(), name="schema"),
]

urlpatterns = [
    path("api/v1/", include(api)),
    path("admin", RedirectView.as_view(pattern_name="admin:index")),
    # Before the routes of Django's admin: its sign-in and password change skip MFA and the audit.
    path("admin/login/", redirect_admin_login),
    path("admin/password_change/", RedirectView.as_view(pattern_name="set-password")),
    path("admin/", admin.site.urls),
    *accounts.urls.pages,
    *devices.urls.pages,
    *telemetry.urls.pages,
    *commands.urls.pages,
    path("account/data", account_data_views.data, name="own-data"),
    path("account/data/archive.zip", account_data_views.archive_file, name="archive-file"),
    path("account/delete", account_data_views.delete, name="delete-account"),
    path("goodbye", account_data_views.goodbye, name="goodbye"),
    path(".well-known/security.txt", security_txt.security_txt),
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
    path("help", help_pages.help_page, name="help"),
    path("help/api", reference.reference, name="reference"),
    path("help/limits", help_pages.limits_page, name="limits"),
    path("devices/rows", device_list.device_rows, name="device-rows"),
    path("devices/<uuid:device_id>", device_page.device_page, name="device"),
    path("devices/<uuid:device_id>/history", history_page.history_page, name="device-history"),
    path("devices/<uuid:device_id>/now", device_page.device_status_partial, name="device-now"),
    path("devices/<uuid:device_id>/readings", device_page.device_readings, name="device-readings"),
    path(
        "devices/<uuid:device_id>/first",
        device_page.first_reading_partial,
        name="device-first-reading",
    ),
]

handler400 = "telemetry_site.api.problems.bad_request"
handler403 = "telemetry_site.api.problems.permission_denied"
handler404 = "telemetry_site.api.problems.not_found"
handler500 = "telemetry_site.api.problems.server_error"
