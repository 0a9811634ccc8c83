from django.urls import path

from telemetry import api as doors

api = [
    path("device/telemetry", doors.DeviceTelemetry.as_view()),
    path("devices/<uuid:device_id>/telemetry", doors.TelemetryList.as_view()),
    path("devices/<uuid:device_id>/telemetry/latest", doors.Latest.as_view()),
    path("devices/<uuid:device_id>/telemetry/series", doors.Series.as_view()),
    path("devices/<uuid:device_id>/telemetry/<uuid:reading_id>", doors.TelemetryDetail.as_view()),
]
