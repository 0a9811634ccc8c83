"""Who asks, and what they may hear or take; with the database, so in a thread of its own.

Each function is given the ASGI scope and looks anew: a poll or a stream lives longer than some
tokens and sessions do.
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
from commands.api import claim_limit, serialize_commands
from commands.models import Command
from devices import events, presence
from devices.authentication import IsDevice, request_device
from devices.models import Device, DeviceToken
from telemetry_site.live import fast_auth
from telemetry_site.live.fast_auth import Arrival
from telemetry_site.middleware.accounts import session_origin

Scope = dict[str, Any]

DEVICES_NAMED = 100
"""Devices that one stream may name; it may also name none and hear of all."""


class Subscription(NamedTuple):
    """The user who listens, and the devices that the stream names; without any, all are meant."""

    user_id: UUID
    named: frozenset[UUID]


def http_request(scope: Scope) -> ASGIRequest:
    """The request without its body, which none of ours has."""
    return ASGIRequest(scope, io.BytesIO())


def authenticate_device(scope: Scope) -> Arrival:
    """The device whose token came with the request, which is contact with it, and its owner."""
    if known := fast_auth.authenticate_cached_device(http_request(scope)):
        return known
    request = _authenticated(scope)
    if not isinstance(request.auth, DeviceToken):
        raise exceptions.PermissionDenied(IsDevice.message)
    speaking = request_device(request)
    presence.mark_seen(speaking, now=timezone.now())
    # Not `speaking.user_id`: the device is remembered, and may be another user's later.
    owners = Device.objects.filter(pk=speaking.pk).values_list("user_id", flat=True)
    return Arrival(speaking, owners.get())


def claim_commands(scope: Scope, asking: Device) -> bytes | None:
    """The commands that wait for the device, claimed, as the API answers them; None without any."""
    now = timezone.now()
    if not asking.waiting_commands(now):
        return None
    # The token may have been revoked while it waited.
    limit = claim_limit(http_request(scope).GET)
    claimed = command_services.claim(authenticate_device(scope).device, now=now, limit=limit)
    if not claimed:
        return None
    answer: bytes = JSONRenderer().render({"results": serialize_commands(claimed, now)})
    return answer


def devices_with_pending(device_ids: list[UUID]) -> list[UUID]:
    """Those of the devices for which a command waits."""
    waiting = Command.objects.waiting(timezone.now()).filter(device__in=device_ids)
    return list(waiting.order_by().values_list("device_id", flat=True).distinct())


def subscription(scope: Scope) -> Subscription:
    """The user, and which devices the query names. Notes that the user listens to events.

    Raises Device.DoesNotExist if the user may not see one of the devices.
    """
    user = _authenticated(scope).user
    if not isinstance(user, User):
        raise exceptions.PermissionDenied(IsAuthenticatedUser.message)
    named = _named(http_request(scope))
    if named and Device.objects.visible_to(user).filter(pk__in=named).count() < len(named):
        raise Device.DoesNotExist
    events.mark_watched(user.pk)
    return Subscription(user.pk, named)


def _named(request: HttpRequest) -> frozenset[UUID]:
    names = request.GET.getlist("device")
    if len(names) > DEVICES_NAMED:
        raise exceptions.ValidationError({"device": [f"At most {DEVICES_NAMED}."]})
    try:
        return frozenset(map(UUID, names))
    except ValueError:
        raise Device.DoesNotExist from None


def _authenticated(scope: Scope) -> Request:
    """As the site authenticates: a user's token, a device's, a session."""
    request = http_request(scope)
    SessionMiddleware(_noop_response).process_request(request)
    session_origin(_noop_response)(request)
    AuthenticationMiddleware(_noop_response).process_request(request)
    kinds: Any = api_settings.DEFAULT_AUTHENTICATION_CLASSES
    asked = Request(request, authenticators=[kind() for kind in kinds])
    if not (asked.auth or asked.user.is_authenticated):
        raise exceptions.NotAuthenticated
    return asked


def _noop_response(request: HttpRequest) -> HttpResponse:
    """A middleware is asked only for what it does to a request."""
    return HttpResponse()
