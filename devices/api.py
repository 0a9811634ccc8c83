"""API of devices and their tokens."""

import re
from typing import Any
from uuid import UUID

from django.contrib.auth.models import AnonymousUser
from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication.drf import IsAuthenticatedUser, require_code
from accounts.models import User
from common.api.fields import JSONObjectField
from common.api.serializers import StrictSerializer
from devices import live_url, presence, rejections
from devices import services as device_services
from devices.authentication import IsDevice, get_accessible_device, request_device
from devices.models import (
    MAX_EXPECTED_INTERVAL,
    METADATA_KEYS_LIMIT,
    Device,
    DeviceQuerySet,
    DeviceToken,
    Refusal,
)

METADATA_KEY = re.compile(r"metadata\.([A-Za-z0-9_.-]{1,64})", re.ASCII)


class DeviceRequestSerializer(StrictSerializer):
    name = serializers.CharField(max_length=200)
    device_type = serializers.CharField(max_length=64, required=False)
    metadata = JSONObjectField(required=False)
    expected_interval = serializers.IntegerField(
        min_value=1, max_value=MAX_EXPECTED_INTERVAL, required=False
    )


class DeviceSerializer(serializers.ModelSerializer[Device]):
    status = serializers.SerializerMethodField()
    metadata = JSONObjectField()

    class Meta:
        model = Device
        fields = (
            "id",
            "name",
            "device_type",
            "status",
            "metadata",
            "expected_interval",
            "last_seen_at",
            "created_at",
            "updated_at",
        )

    def get_status(self, device: Any) -> Device.Status:
        """Computed from the last contact, not the last announced status."""
        return Device.Status.ONLINE if device.online else Device.Status.OFFLINE


class NewDeviceSerializer(DeviceSerializer):
    token = serializers.CharField(help_text="The device's first token, shown once.")

    class Meta(DeviceSerializer.Meta):
        fields = (*DeviceSerializer.Meta.fields, "token")  # type: ignore[assignment]


class DeviceTokenRequestSerializer(StrictSerializer):
    label = serializers.CharField(  # type: ignore[assignment]
        max_length=100, required=False, default=""
    )


class DeviceTokenSerializer(serializers.ModelSerializer[DeviceToken]):
    class Meta:
        model = DeviceToken
        fields = (
            "id",
            "label",
            "prefix",
            "revoked",
            "expires_at",
            "last_used_at",
            "created_at",
        )


class NewDeviceTokenSerializer(DeviceTokenSerializer):
    token = serializers.CharField(help_text="Shown once.")

    class Meta(DeviceTokenSerializer.Meta):
        fields = (*DeviceTokenSerializer.Meta.fields, "token")  # type: ignore[assignment]


class CurrentDeviceSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    name = serializers.CharField()
    pending_commands = serializers.IntegerField()
    server_time = serializers.DateTimeField()
    live_url = serializers.URLField(
        allow_null=True,
        help_text="Base URL for `/device/commands?wait=`. Other URLs respond at once.",
    )


class DeviceListView(GenericAPIView[Device]):
    """The user's devices."""

    serializer_class = DeviceSerializer

    def get_queryset(self) -> DeviceQuerySet:
        user = self.request.user
        if not isinstance(user, User):
            return Device.objects.none()
        return Device.objects.visible_to(user).with_presence(timezone.now())

    @extend_schema(
        operation_id="devices_list",
        parameters=[
            OpenApiParameter("status", enum=Device.Status.values),
            OpenApiParameter("device_type"),
            OpenApiParameter("search", description="A part of the name, case-insensitive."),
            OpenApiParameter(
                "metadata.<key>",
                description="The exact value of a metadata key, as text. At most "
                f"{METADATA_KEYS_LIMIT} keys.",
            ),
        ],
    )
    def get(self, request: Request) -> Response:
        page = self.paginate_queryset(filter_devices(self.get_queryset(), request))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(request=DeviceRequestSerializer, responses={201: NewDeviceSerializer})
    def post(self, request: Request) -> Response:
        serializer = DeviceRequestSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        require_code(request)
        assert isinstance(request.user, User)  # noqa: S101 - checked by IsAuthenticatedUser
        device, secret = device_services.create_device(request.user, **serializer.validated_data)
        response = {**_serialize_device(device), "token": secret.text}
        return Response(response, status=status.HTTP_201_CREATED)


class DeviceDetailView(APIView):
    """One device of the user."""

    @extend_schema(responses=DeviceSerializer)
    def get(self, request: Request, device_id: UUID) -> Response:
        return Response(_serialize_device(get_accessible_device(request, device_id)))

    @extend_schema(request=DeviceRequestSerializer(partial=True), responses=DeviceSerializer)
    def patch(self, request: Request, device_id: UUID) -> Response:
        device = get_accessible_device(request, device_id)
        serializer = DeviceRequestSerializer(data=request.data, partial=True)
        serializer.is_valid(raise_exception=True)
        return Response(
            _serialize_device(device_services.update_device(device, **serializer.validated_data))
        )

    @extend_schema(responses={204: None})
    def delete(self, request: Request, device_id: UUID) -> Response:
        device = get_accessible_device(request, device_id)
        if not device_services.soft_delete(device, now=timezone.now()):
            raise Device.DoesNotExist
        return Response(status=status.HTTP_204_NO_CONTENT)


class DeviceTokenListView(GenericAPIView[DeviceToken]):
    """The tokens of one device. Responses never contain the hashes."""

    serializer_class = DeviceTokenSerializer

    def get_queryset(self) -> QuerySet[DeviceToken]:
        if isinstance(self.request.user, AnonymousUser):
            return DeviceToken.objects.none()
        device = get_accessible_device(self.request, self.kwargs["device_id"])
        return DeviceToken.objects.filter(device=device)

    @extend_schema(operation_id="devices_tokens_list")
    def get(self, request: Request, device_id: UUID) -> Response:
        page = self.paginate_queryset(self.get_queryset())
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(request=DeviceTokenRequestSerializer, responses={201: NewDeviceTokenSerializer})
    def post(self, request: Request, device_id: UUID) -> Response:
        device = get_accessible_device(request, device_id)
        serializer = DeviceTokenRequestSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        require_code(request)
        token, secret = device_services.issue_token(
            device, label=serializer.validated_data["label"]
        )
        response = {**DeviceTokenSerializer(token).data, "token": secret.text}
        return Response(response, status=status.HTTP_201_CREATED)


class DeviceRejectionSerializer(serializers.ModelSerializer[Refusal]):
    class Meta:
        model = Refusal
        fields = ("code", "status", "count", "last_at", "pointer", "detail", "request_id")


class DeviceRejectionListView(APIView):
    """Rejected requests and readings of the device, by reason, newest first."""

    permission_classes = (IsAuthenticatedUser | IsDevice,)

    @extend_schema(
        operation_id="devices_refusals_list", responses=DeviceRejectionSerializer(many=True)
    )
    def get(self, request: Request, device_id: UUID) -> Response:
        device = get_accessible_device(request, device_id)
        return Response(DeviceRejectionSerializer(rejections.for_device(device), many=True).data)


class DeviceTokenRotationView(APIView):
    """Replace all tokens with one new token. The token in use works until an hour after the first
    use of the new one.
    """

    @extend_schema(request=None, responses={201: NewDeviceTokenSerializer})
    def post(self, request: Request, device_id: UUID) -> Response:
        device = get_accessible_device(request, device_id)
        require_code(request)
        token, secret = device_services.rotate_token(device, now=timezone.now())
        response = {**DeviceTokenSerializer(token).data, "token": secret.text}
        return Response(response, status=status.HTTP_201_CREATED)


class DeviceTokenDetailView(APIView):
    """One token of a device."""

    @extend_schema(responses={204: None})
    def delete(self, request: Request, device_id: UUID, token_id: UUID) -> Response:
        device_services.revoke_token(
            get_accessible_device(request, device_id).tokens.get(pk=token_id)
        )
        return Response(status=status.HTTP_204_NO_CONTENT)


class CurrentDeviceView(APIView):
    """The device whose token is sent, and the number of its pending commands."""

    permission_classes = (IsDevice,)

    @extend_schema(responses=CurrentDeviceSerializer)
    def get(self, request: Request) -> Response:
        now = timezone.now()
        device = request_device(request)
        presence.mark_seen(device, now=now)
        response = {
            "id": device.pk,
            "name": device.name,
            "pending_commands": device.pending_command_count(now),
            "server_time": now,
            "live_url": live_url.live_url_for(request.get_host()),
        }
        return Response(CurrentDeviceSerializer(response).data)


def filter_devices(devices: DeviceQuerySet, request: Request) -> DeviceQuerySet:
    """Return the devices that match the query parameters."""
    now, metadata = timezone.now(), dict[str, str]()
    for name in request.query_params:
        value = str(request.query_params[name])
        if "\0" in value:
            raise serializers.ValidationError({"query": ["A NUL character is not allowed."]})
        if name == "status" and value in Device.Status:
            devices = devices.filter_by(now, status=value)
        elif name == "device_type":
            devices = devices.filter(device_type=value)
        elif name == "search":
            devices = devices.filter_by(now, search=value)
        elif match := METADATA_KEY.fullmatch(name):
            metadata[match[1]] = value
        elif name not in ("limit", "cursor"):
            raise serializers.ValidationError({"query": ["Unknown filter."]})
    if len(metadata) > METADATA_KEYS_LIMIT:
        detail = f"At most {METADATA_KEYS_LIMIT} metadata keys."
        raise serializers.ValidationError({"query": [detail]})
    return devices.filter_by(now, metadata=metadata)


def _serialize_device(device: Device) -> dict[str, Any]:
    annotated = Device.objects.with_presence(timezone.now()).get(pk=device.pk)
    return dict(DeviceSerializer(annotated).data)
