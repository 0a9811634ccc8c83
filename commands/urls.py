from django.urls import path

from commands import api as doors
from commands import views
from commands.batches import api as batches_api
from commands.batches import views as batches_views

api = [
    path("device/commands", doors.ClaimCommandsView.as_view()),
    path("device/commands/<uuid:command_id>", doors.CommandResultView.as_view()),
    path("devices/<uuid:device_id>/commands", doors.CommandList.as_view()),
    path("devices/<uuid:device_id>/commands/<uuid:command_id>", doors.CommandDetail.as_view()),
    path(
        "devices/<uuid:device_id>/commands/<uuid:command_id>/cancel", doors.CommandCancel.as_view()
    ),
    path("devices/<uuid:device_id>/commands/<uuid:command_id>/retry", doors.CommandRetry.as_view()),
    path("devices/<uuid:device_id>/command-types", doors.CommandTypes.as_view()),
    path("command-batches", batches_api.BatchList.as_view()),
    path("command-batches/<uuid:batch_id>", batches_api.BatchDetail.as_view()),
    path("command-batches/<uuid:batch_id>/commands", batches_api.BatchCommands.as_view()),
    path("command-batches/<uuid:batch_id>/cancel", batches_api.BatchCancel.as_view()),
]
pages = [
    path("commands/many", batches_views.send_many, name="send-many"),
    path("commands/batches", batches_views.batch_list, name="command-batches"),
    path("commands/batches/<uuid:batch_id>", batches_views.batch_page, name="command-batch"),
    path(
        "commands/batches/<uuid:batch_id>/cancel",
        batches_views.batch_cancel,
        name="command-batch-cancel",
    ),
    path("devices/<uuid:device_id>/commands", views.send, name="device-commands"),
    path("devices/<uuid:device_id>/commands/recent", views.recent, name="device-commands-recent"),
    path(
        "devices/<uuid:device_id>/commands/<uuid:command_id>/cancel",
        views.cancel,
        name="device-command-cancel",
    ),
    path(
        "devices/<uuid:device_id>/commands/<uuid:command_id>", views.timeline, name="device-command"
    ),
    path(
        "devices/<uuid:device_id>/commands/<uuid:command_id>/retry",
        views.retry,
        name="device-command-retry",
    ),
]
