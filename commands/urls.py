from django.urls import path

from commands import api as command_api
from commands import views
from commands.batches import api as batches_api
from commands.batches import views as batches_views

api = [
    path("device/commands", command_api.ClaimCommandsView.as_view()),
    path("device/commands/<uuid:command_id>", command_api.CommandResultView.as_view()),
    path("devices/<uuid:device_id>/commands", command_api.CommandListView.as_view()),
    path(
        "devices/<uuid:device_id>/commands/<uuid:command_id>",
        command_api.CommandDetailView.as_view(),
    ),
    path(
        "devices/<uuid:device_id>/commands/<uuid:command_id>/cancel",
        command_api.CommandCancelView.as_view(),
    ),
    path(
        "devices/<uuid:device_id>/commands/<uuid:command_id>/retry",
        command_api.CommandRetryView.as_view(),
    ),
    path("devices/<uuid:device_id>/command-types", command_api.CommandTypeListView.as_view()),
    path("command-batches", batches_api.CommandBatchListView.as_view()),
    path("command-batches/<uuid:batch_id>", batches_api.CommandBatchDetailView.as_view()),
    path(
        "command-batches/<uuid:batch_id>/commands",
        batches_api.CommandBatchCommandListView.as_view(),
    ),
    path("command-batches/<uuid:batch_id>/cancel", batches_api.CommandBatchCancelView.as_view()),
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
