"""Who is speaking to the API: a device's token."""

from typing import TYPE_CHECKING
from uuid import UUID

from django.contrib.auth.models import AnonymousUser
from django.utils import timezone
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from accounts import secrets
from accounts.authentication import bearer
from accounts.models import User, alive
from accounts.tokens import note_use
from devices.enrolment import TOKEN_PREFIX
from devices.models import Device, DeviceToken

if TYPE_CHECKING:
    # The framework's views import this module while they are being made.
    from rest_framework.views import APIView


class DeviceTokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer tsd_…`. The user stays anonymous: a device is not its owner."""

    def authenticate(self, request: Request) -> tuple[AnonymousUser, DeviceToken] | None:
        text = bearer(request, TOKEN_PREFIX)
        if text is None:
            return None
        now = timezone.now()
        try:
            token = DeviceToken.objects.select_related("device").get(
                alive(now),
                token_hash=secrets.parse(text, TOKEN_PREFIX).digest,
                device__deleted_at=None,
                device__user__is_active=True,
            )
        except (secrets.MalformedSecret, DeviceToken.DoesNotExist):
            raise AuthenticationFailed("This token is unknown, expired or revoked.") from None
        note_use(token, now=now)
        return AnonymousUser(), token

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class DeviceTokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the schema tells of it."""

    target_class = DeviceTokenAuthentication
    name = "deviceToken"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "A device's token, `tsd_…`."}


class IsDevice(BasePermission):
    """A device with its own token."""

    message = "This needs a device's token."

    def has_permission(self, request: Request, view: "APIView") -> bool:
        return isinstance(request.auth, DeviceToken)


def speaking_device(request: Request) -> Device:
    """The device whose token came with the request."""
    assert isinstance(request.auth, DeviceToken)  # noqa: S101 - IsDevice has let it in
    return request.auth.device


def reachable_device(request: Request, device_id: UUID) -> Device:
    """The device of this id, if the user owns it or it is the one that speaks itself.

    Raises Device.DoesNotExist, whether it belongs to somebody else or to nobody.
    """
    if isinstance(request.auth, DeviceToken):
        device = speaking_device(request)
        if device.pk != device_id:
            raise Device.DoesNotExist
        return device
    assert isinstance(request.user, User)  # noqa: S101 - IsUser has let them in
    return Device.objects.visible_to(request.user).get(pk=device_id)
