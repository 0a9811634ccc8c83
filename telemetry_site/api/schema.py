"""How the framework's views are described in the OpenAPI schema."""

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
"""Whom each way to say who one is lets in."""


class ApiAutoSchema(AutoSchema):
    """Says who may, what a list is, and that unknown fields are refused."""

    def get_auth(self) -> list[dict[str, Any]]:
        """Only the ways that lead in: not a user's token where none but devices may."""
        let_in = {kind for one in self.view.get_permissions() for kind in _permission_classes(one)}
        return [
            ways
            for ways in super().get_auth()
            if any(PERMISSION_FOR_SCHEME[way] in let_in for way in ways)
        ]

    def _is_list_view(self, serializer: Any = None) -> bool:
        """Every GET of a view that pages is of a list."""
        pages = getattr(self.view, "paginator", None) is not None
        return (pages and self.method == "GET") or super()._is_list_view(serializer)

    def _get_request_for_media_type(self, serializer: Any, direction: Any = "request") -> Any:
        """As it is declared: the framework would take every body of a PATCH for a part of one, and
        none of what is no object to be needed.
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
    """The permissions that one is made of."""
    if hasattr(permission, "op1"):
        return _permission_classes(permission.op1) | _permission_classes(permission.op2)
    return {type(permission)}
