from django.urls import path, register_converter
from django.urls.converters import StringConverter

from telemetry import views
from telemetry.api.import_export import ExportView, ImportView
from telemetry.api.keys import KeyDetailView, KeyListView
from telemetry.api.latest import LatestReadingsView
from telemetry.api.readings import (
    CurrentDeviceTelemetryView,
    TelemetryDetailView,
    TelemetryListView,
)
from telemetry.api.series import SeriesView


class KeyConverter(StringConverter):
    """A key of a device: a telemetry type, a dot, the path of a value."""

    regex = r"[A-Za-z0-9_-]{1,64}\.[A-Za-z0-9_.-]{1,64}"


register_converter(KeyConverter, "key")

api = [
    path("device/telemetry", CurrentDeviceTelemetryView.as_view()),
    path("devices/<uuid:device_id>/telemetry", TelemetryListView.as_view()),
    path("devices/<uuid:device_id>/telemetry/latest", LatestReadingsView.as_view()),
    path("devices/<uuid:device_id>/telemetry/series", SeriesView.as_view()),
    path("devices/<uuid:device_id>/telemetry/export", ExportView.as_view()),
    path("devices/<uuid:device_id>/telemetry/import", ImportView.as_view()),
    path("devices/<uuid:device_id>/telemetry/<uuid:reading_id>", TelemetryDetailView.as_view()),
    path("devices/<uuid:device_id>/keys", KeyListView.as_view()),
    path("devices/<uuid:device_id>/keys/<key:key>", KeyDetailView.as_view()),
]
pages = [
    path("devices/<uuid:device_id>/keys", views.keys_page, name="device-keys"),
    path("devices/<uuid:device_id>/keys/<key:key>", views.key_page, name="device-key"),
]
