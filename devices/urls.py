from django.urls import path

from devices import api as doors
from devices import views

api = [
    path("device", doors.CurrentDeviceView.as_view()),
    path("devices", doors.DeviceList.as_view()),
    path("devices/<uuid:device_id>", doors.DeviceDetail.as_view()),
    path("devices/<uuid:device_id>/refusals", doors.RefusalList.as_view()),
    path("devices/<uuid:device_id>/tokens", doors.DeviceTokenList.as_view()),
    path("devices/<uuid:device_id>/tokens/rotate", doors.DeviceTokenRotation.as_view()),
    path("devices/<uuid:device_id>/tokens/<uuid:token_id>", doors.DeviceTokenDetail.as_view()),
]
pages = [
    path("devices/new", views.new, name="device-new"),
    path("devices/<uuid:device_id>/connect", views.connect, name="device-connect"),
    path("devices/<uuid:device_id>/settings", views.settings, name="device-settings"),
    path("devices/<uuid:device_id>/delete", views.delete, name="device-delete"),
]
