"""Authentication of API requests by a device's token."""

from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.db import DEFAULT_DB_ALIAS
from django.utils import timezone
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from accounts.audit import log as audit
from accounts.authentication.drf import get_bearer_token
from accounts.models import User, active_tokens
from accounts.tokens import format as token_format
from accounts.tokens.services import LAST_USED_PRECISION
from common.db.compiled_query import CompiledQuery
from common.random_cache import RandomCache
from devices.models import Device, DeviceToken
from devices.services import TOKEN_PREFIX, record_token_use

if TYPE_CHECKING:
    # rest_framework.views imports this module: importing it at runtime would be circular.
    from rest_framework.views import APIView


TOKEN_FIELDS = ["id", "last_used_at", "device_id"]
DEVICE_FIELDS = ["id", "name", "device_type"]
"""Fields that most requests with a device's token need. Others are fetched on access."""
_token_cache: RandomCache[bytes, DeviceToken] = RandomCache(settings.TOKEN_CACHE_SIZE)


class DeviceTokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer tsd_…`. The user stays anonymous: a device cannot act as its owner."""

    def authenticate(self, request: Request) -> tuple[AnonymousUser, DeviceToken] | None:
        text = get_bearer_token(request, TOKEN_PREFIX)
        if text is None:
            return None
        now = timezone.now()
        try:
            token = _load_token(token_format.parse(text, TOKEN_PREFIX), now)
        except (token_format.MalformedToken, DeviceToken.DoesNotExist):
            raise AuthenticationFailed("This token is unknown, expired or revoked.") from None
        record_token_use(token, now=now)
        audit.set_actor(audit.Means.DEVICE, user=None, id=token.pk, name=token.device.name)
        return AnonymousUser(), token

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


@cache
def active_token_query() -> CompiledQuery:
    """Return the query for the active token with a digest: TOKEN_FIELDS, then DEVICE_FIELDS."""
    digest, now = bytes(32), datetime(1, 1, 1, tzinfo=UTC)
    found = DeviceToken.objects.filter(
        active_tokens(now),
        token_hash=digest,
        device__deleted_at=None,
        device__deactivated_at=None,
        device__user__is_active=True,
    )
    fields = (*TOKEN_FIELDS, *(f"device__{field}" for field in DEVICE_FIELDS))
    return CompiledQuery(found.values_list(*fields), digest=digest, now=now)


def _load_token(secret: token_format.PlaintextToken, now: datetime) -> DeviceToken:
    """Return the active token with its device, and cache it. Raises DeviceToken.DoesNotExist."""
    for row in active_token_query().fetch(digest=secret.digest, now=now):
        token = DeviceToken.from_db(DEFAULT_DB_ALIAS, TOKEN_FIELDS, row[: len(TOKEN_FIELDS)])
        token.device = Device.from_db(DEFAULT_DB_ALIAS, DEVICE_FIELDS, row[len(TOKEN_FIELDS) :])
        _token_cache.set(secret.digest, token)
        return token
    raise DeviceToken.DoesNotExist


def get_cached_token(digest: bytes, *, now: datetime) -> DeviceToken | None:
    """Return the token with this digest and its device from the cache, if it was used in the last
    ten minutes.

    The device of a token never changes. The caller's statement must check that the token is still
    active (`active_token_query`).
    """
    token = _token_cache.get(digest)
    if token and token.last_used_at and now - token.last_used_at < LAST_USED_PRECISION:
        return token
    return None


class DeviceTokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """The security scheme in the OpenAPI schema."""

    target_class = DeviceTokenAuthentication
    name = "deviceToken"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "A device's token, `tsd_…`."}


class IsDevice(BasePermission):
    """Allows requests with a device's token."""

    message = "This needs a device's token."

    def has_permission(self, request: Request, view: "APIView") -> bool:
        return isinstance(request.auth, DeviceToken)


def request_device(request: Request) -> Device:
    """Return the device whose token authenticated the request."""
    assert isinstance(request.auth, DeviceToken)  # noqa: S101 - checked by IsDevice
    return request.auth.device


def get_accessible_device(request: Request, device_id: UUID) -> Device:
    """Return the device with this id if the user may see it or the request has its own token.

    Raises Device.DoesNotExist otherwise, whether such a device exists or not.
    """
    if isinstance(request.auth, DeviceToken):
        device = request_device(request)
        if device.pk != device_id:
            raise Device.DoesNotExist
        return device
    assert isinstance(request.user, User)  # noqa: S101 - checked by IsAuthenticatedUser
    return Device.objects.visible_to(request.user).get(pk=device_id)
