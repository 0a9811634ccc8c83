from django.urls import path, register_converter
from django.urls.converters import StringConverter

from telemetry import views
from telemetry.api.import_export import Export, Import
from telemetry.api.keys import KeyDetail, KeysOfDevice
from telemetry.api.latest import Latest
from telemetry.api.readings import DeviceTelemetry, TelemetryDetail, TelemetryList
from telemetry.api.series import Series


class KeyConverter(StringConverter):
    """A key of a device: a telemetry type, a point, the path of a value."""

    regex = r"[A-Za-z0-9_-]{1,64}\.[A-Za-z0-9_.-]{1,64}"


register_converter(KeyConverter, "key")

api = [
    path("device/telemetry", DeviceTelemetry.as_view()),
    path("devices/<uuid:device_id>/telemetry", TelemetryList.as_view()),
    path("devices/<uuid:device_id>/telemetry/latest", Latest.as_view()),
    path("devices/<uuid:device_id>/telemetry/series", Series.as_view()),
    path("devices/<uuid:device_id>/telemetry/export", Export.as_view()),
    path("devices/<uuid:device_id>/telemetry/import", Import.as_view()),
    path("devices/<uuid:device_id>/telemetry/<uuid:reading_id>", TelemetryDetail.as_view()),
    path("devices/<uuid:device_id>/keys", KeysOfDevice.as_view()),
    path("devices/<uuid:device_id>/keys/<key:key>", KeyDetail.as_view()),
]
pages = [
    path("devices/<uuid:device_id>/keys", views.keys_page, name="device-keys"),
    path("devices/<uuid:device_id>/keys/<key:key>", views.key_page, name="device-key"),
]
