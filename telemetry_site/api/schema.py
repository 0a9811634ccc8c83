"""Describes the views in the OpenAPI schema."""

from typing import Any

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import force_instance

from accounts.authentication.drf import IsAuthenticatedUser
from common.api.serializers import StrictSerializer
from devices.authentication import IsDevice

PERMISSION_FOR_SCHEME = {
    "userToken": IsAuthenticatedUser,
    "cookieAuth": IsAuthenticatedUser,
    "deviceToken": IsDevice,
}
"""The permission that each authentication scheme can satisfy."""


class ApiAutoSchema(AutoSchema):
    """Adds the allowed authentication schemes, marks operations that return a list, and forbids
    unknown fields.
    """

    def get_auth(self) -> list[dict[str, Any]]:
        """Return only the schemes that satisfy a permission of the view."""
        allowed = {
            kind
            for permission in self.view.get_permissions()
            for kind in _permission_classes(permission)
        }
        return [
            ways
            for ways in super().get_auth()
            if any(PERMISSION_FOR_SCHEME[way] in allowed for way in ways)
        ]

    def _is_list_view(self, serializer: Any = None) -> bool:
        """Treat each GET of a paginated view as a list."""
        pages = getattr(self.view, "paginator", None) is not None
        return (pages and self.method == "GET") or super()._is_list_view(serializer)

    def get_serializer_name(self, serializer: Any, direction: Any) -> str:
        """Name the body of an `XRequestSerializer` XRequest: drf-spectacular appends "Request"."""
        name = str(super().get_serializer_name(serializer, direction))
        return name.removesuffix("RequestSerializer") if direction == "request" else name

    def _get_request_for_media_type(self, serializer: Any, direction: Any = "request") -> Any:
        """Use the declared request type: drf-spectacular would generate `Patched…` for each PATCH
        and mark bodies that are not objects as optional.
        """
        method, self.method = self.method, "POST"
        try:
            found, is_needed = super()._get_request_for_media_type(  # type: ignore[no-untyped-call]
                serializer, direction
            )
        finally:
            self.method = method
        made = force_instance(serializer)  # type: ignore[no-untyped-call]
        return found, is_needed or not isinstance(made, StrictSerializer)

    def _map_basic_serializer(self, serializer: Any, direction: Any) -> Any:
        mapped = super()._map_basic_serializer(  # type: ignore[no-untyped-call]
            serializer, direction
        )
        if isinstance(serializer, StrictSerializer) and direction == "request":
            mapped["additionalProperties"] = False
        return mapped


def _permission_classes(permission: Any) -> set[type]:
    """Return the classes that a permission is composed of."""
    if hasattr(permission, "op1"):
        return _permission_classes(permission.op1) | _permission_classes(permission.op2)
    return {type(permission)}
