from django.urls import path

from telemetry.api.latest import Latest
from telemetry.api.readings import DeviceTelemetry, TelemetryDetail, TelemetryList
from telemetry.api.series import Series
from telemetry.api.transfer import Export, Import

api = [
    path("device/telemetry", DeviceTelemetry.as_view()),
    path("devices/<uuid:device_id>/telemetry", TelemetryList.as_view()),
    path("devices/<uuid:device_id>/telemetry/latest", Latest.as_view()),
    path("devices/<uuid:device_id>/telemetry/series", Series.as_view()),
    path("devices/<uuid:device_id>/telemetry/export", Export.as_view()),
    path("devices/<uuid:device_id>/telemetry/import", Import.as_view()),
    path("devices/<uuid:device_id>/telemetry/<uuid:reading_id>", TelemetryDetail.as_view()),
]
