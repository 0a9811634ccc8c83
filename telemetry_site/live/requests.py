"""Authentication and permissions of live requests, and claims of commands.

The functions query the database, so they run in a thread. Each one takes the ASGI scope and
authenticates the request again, because a poll or a stream may be open longer than its token or
session is active.
"""

import io
from typing import Any, NamedTuple
from uuid import UUID

from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from rest_framework import exceptions
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.settings import api_settings

from accounts.authentication.drf import IsAuthenticatedUser
from accounts.models import User
from commands import services as command_services
from commands.api import parse_limit, serialize_commands
from commands.models import Command
from devices import events, presence
from devices.authentication import IsDevice, request_device
from devices.models import Device, DeviceToken
from telemetry_site.live import fast_auth
from telemetry_site.live.fast_auth import AuthenticatedDevice
from telemetry_site.middleware.accounts import session_origin

Scope = dict[str, Any]

MAX_DEVICES_PER_STREAM = 100
"""Devices that a stream may name. A stream that names none is for all devices of the user."""


class Subscription(NamedTuple):
    """The user of a stream and the devices that it names; without any it is for all devices."""

    user_id: UUID
    device_ids: frozenset[UUID]


def http_request(scope: Scope) -> ASGIRequest:
    """Return the request without its body: live requests have none."""
    return ASGIRequest(scope, io.BytesIO())


def authenticate_device(scope: Scope) -> AuthenticatedDevice:
    """Return the device of the token and its owner. Store the contact with the device."""
    if authenticated := fast_auth.authenticate_cached_device(http_request(scope)):
        return authenticated
    request = _authenticated(scope)
    if not isinstance(request.auth, DeviceToken):
        raise exceptions.PermissionDenied(IsDevice.message)
    device = request_device(request)
    presence.mark_seen(device, now=timezone.now())
    # Not `device.user_id`: the device is cached, and its owner may change.
    owners = Device.objects.filter(pk=device.pk).values_list("user_id", flat=True)
    return AuthenticatedDevice(device, owners.get())


def claim_commands(scope: Scope, device: Device) -> bytes | None:
    """Claim the pending commands of the device. Return the response as JSON, or None without any
    command.
    """
    now = timezone.now()
    if not device.pending_command_count(now):
        return None
    # Authenticate again: the token may have been revoked during the poll.
    limit = parse_limit(http_request(scope).GET)
    claimed = command_services.claim(authenticate_device(scope).device, now=now, limit=limit)
    if not claimed:
        return None
    content: bytes = JSONRenderer().render({"results": serialize_commands(claimed, now)})
    return content


def devices_with_pending(device_ids: list[UUID]) -> list[UUID]:
    """Return those of the devices that have a pending command."""
    pending = Command.objects.pending_at(timezone.now()).filter(device__in=device_ids)
    return list(pending.order_by().values_list("device_id", flat=True).distinct())


def subscription(scope: Scope) -> Subscription:
    """Return the user and the devices that the query names. Store that the user has a stream.

    Raises Device.DoesNotExist if the user may not see one of the devices.
    """
    user = _authenticated(scope).user
    if not isinstance(user, User):
        raise exceptions.PermissionDenied(IsAuthenticatedUser.message)
    ids = _device_ids(http_request(scope))
    if ids and Device.objects.visible_to(user).filter(pk__in=ids).count() < len(ids):
        raise Device.DoesNotExist
    events.mark_watched(user.pk)
    return Subscription(user.pk, ids)


def _device_ids(request: HttpRequest) -> frozenset[UUID]:
    values = request.GET.getlist("device")
    if len(values) > MAX_DEVICES_PER_STREAM:
        raise exceptions.ValidationError({"device": [f"At most {MAX_DEVICES_PER_STREAM}."]})
    try:
        return frozenset(map(UUID, values))
    except ValueError:
        raise Device.DoesNotExist from None


def _authenticated(scope: Scope) -> Request:
    """Authenticate the request as the site does: by user token, device token or session."""
    request = http_request(scope)
    SessionMiddleware(_noop_response).process_request(request)
    session_origin(_noop_response)(request)
    AuthenticationMiddleware(_noop_response).process_request(request)
    classes: Any = api_settings.DEFAULT_AUTHENTICATION_CLASSES
    api_request = Request(request, authenticators=[each() for each in classes])
    if not (api_request.auth or api_request.user.is_authenticated):
        raise exceptions.NotAuthenticated
    return api_request


def _noop_response(request: HttpRequest) -> HttpResponse:
    """Return an empty response: the middleware is called only to change the request."""
    return HttpResponse()
