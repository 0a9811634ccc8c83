from django.urls import path

from devices import api as device_api
from devices import views

api = [
    path("device", device_api.CurrentDeviceView.as_view()),
    path("devices", device_api.DeviceListView.as_view()),
    path("devices/<uuid:device_id>", device_api.DeviceDetailView.as_view()),
    path("devices/<uuid:device_id>/refusals", device_api.DeviceRejectionListView.as_view()),
    path("devices/<uuid:device_id>/tokens", device_api.DeviceTokenListView.as_view()),
    path("devices/<uuid:device_id>/tokens/rotate", device_api.DeviceTokenRotationView.as_view()),
    path(
        "devices/<uuid:device_id>/tokens/<uuid:token_id>",
        device_api.DeviceTokenDetailView.as_view(),
    ),
]
pages = [
    path("devices/new", views.new, name="device-new"),
    path("devices/<uuid:device_id>/connect", views.connect, name="device-connect"),
    path("devices/<uuid:device_id>/settings", views.settings, name="device-settings"),
    path("devices/<uuid:device_id>/delete", views.delete, name="device-delete"),
]
