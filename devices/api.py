"""Devices and their tokens, for programs."""

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
    LONGEST_INTERVAL,
    METADATA_KEYS_LIMIT,
    Device,
    DeviceQuerySet,
    DeviceToken,
    Refusal,
)

METADATA_KEY = re.compile(r"metadata\.([A-Za-z0-9_.-]{1,64})", re.ASCII)


class DeviceBody(StrictSerializer):
    name = serializers.CharField(max_length=200)
    device_type = serializers.CharField(max_length=64, required=False)
    metadata = JSONObjectField(required=False)
    expected_interval = serializers.IntegerField(
        min_value=1, max_value=LONGEST_INTERVAL, required=False
    )


class DeviceAnswer(serializers.ModelSerializer[Device]):
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
        """Worked out from the last contact, not from what was last announced."""
        return Device.Status.ONLINE if device.online else Device.Status.OFFLINE


class NewDeviceAnswer(DeviceAnswer):
    token = serializers.CharField(help_text="The device's first token, shown once.")

    class Meta(DeviceAnswer.Meta):
        fields = (*DeviceAnswer.Meta.fields, "token")  # type: ignore[assignment]


class TokenBody(StrictSerializer):
    label = serializers.CharField(  # type: ignore[assignment]
        max_length=100, required=False, default=""
    )


class TokenAnswer(serializers.ModelSerializer[DeviceToken]):
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


class NewTokenAnswer(TokenAnswer):
    token = serializers.CharField(help_text="Shown once.")

    class Meta(TokenAnswer.Meta):
        fields = (*TokenAnswer.Meta.fields, "token")  # type: ignore[assignment]


class CurrentDeviceSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    name = serializers.CharField()
    pending_commands = serializers.IntegerField()
    server_time = serializers.DateTimeField()
    live_url = serializers.URLField(
        allow_null=True, help_text="Where `/device/commands?wait=` waits; here it does not."
    )


class DeviceList(GenericAPIView[Device]):
    """The user's devices."""

    serializer_class = DeviceAnswer

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
            OpenApiParameter("search", description="A part of the name, in any case."),
            OpenApiParameter(
                "metadata.<key>",
                description="The value of a metadata key, as text, exactly. At most "
                f"{METADATA_KEYS_LIMIT} keys.",
            ),
        ],
    )
    def get(self, request: Request) -> Response:
        page = self.paginate_queryset(filter_devices(self.get_queryset(), request))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(request=DeviceBody, responses={201: NewDeviceAnswer})
    def post(self, request: Request) -> Response:
        body = DeviceBody(data=request.data)
        body.is_valid(raise_exception=True)
        require_code(request)
        assert isinstance(request.user, User)  # noqa: S101 - IsUser has let them in
        device, secret = device_services.create_device(request.user, **body.validated_data)
        answer = {**_serialize_device(device), "token": secret.text}
        return Response(answer, status=status.HTTP_201_CREATED)


class DeviceDetail(APIView):
    """One device of the user's."""

    @extend_schema(responses=DeviceAnswer)
    def get(self, request: Request, device_id: UUID) -> Response:
        return Response(_serialize_device(get_accessible_device(request, device_id)))

    @extend_schema(request=DeviceBody(partial=True), responses=DeviceAnswer)
    def patch(self, request: Request, device_id: UUID) -> Response:
        device = get_accessible_device(request, device_id)
        body = DeviceBody(data=request.data, partial=True)
        body.is_valid(raise_exception=True)
        return Response(
            _serialize_device(device_services.update_device(device, **body.validated_data))
        )

    @extend_schema(responses={204: None})
    def delete(self, request: Request, device_id: UUID) -> Response:
        device_services.soft_delete(get_accessible_device(request, device_id), now=timezone.now())
        return Response(status=status.HTTP_204_NO_CONTENT)


class DeviceTokenList(GenericAPIView[DeviceToken]):
    """The tokens of one device; hashes are never shown."""

    serializer_class = TokenAnswer

    def get_queryset(self) -> QuerySet[DeviceToken]:
        if isinstance(self.request.user, AnonymousUser):
            return DeviceToken.objects.none()
        device = get_accessible_device(self.request, self.kwargs["device_id"])
        return DeviceToken.objects.filter(device=device)

    @extend_schema(operation_id="devices_tokens_list")
    def get(self, request: Request, device_id: UUID) -> Response:
        page = self.paginate_queryset(self.get_queryset())
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(request=TokenBody, responses={201: NewTokenAnswer})
    def post(self, request: Request, device_id: UUID) -> Response:
        device = get_accessible_device(request, device_id)
        body = TokenBody(data=request.data)
        body.is_valid(raise_exception=True)
        require_code(request)
        token, secret = device_services.issue_token(device, label=body.validated_data["label"])
        answer = {**TokenAnswer(token).data, "token": secret.text}
        return Response(answer, status=status.HTTP_201_CREATED)


class DeviceRefusalAnswer(serializers.ModelSerializer[Refusal]):
    class Meta:
        model = Refusal
        fields = ("code", "status", "count", "last_at", "pointer", "detail", "request_id")


class RefusalList(APIView):
    """What was refused of the device, by reason, the newest first."""

    permission_classes = (IsAuthenticatedUser | IsDevice,)

    @extend_schema(operation_id="devices_refusals_list", responses=DeviceRefusalAnswer(many=True))
    def get(self, request: Request, device_id: UUID) -> Response:
        device = get_accessible_device(request, device_id)
        return Response(DeviceRefusalAnswer(rejections.for_device(device), many=True).data)


class DeviceTokenRotation(APIView):
    """One new token in place of all others. The one that is in use works until an hour after the
    new one was first used.
    """

    @extend_schema(request=None, responses={201: NewTokenAnswer})
    def post(self, request: Request, device_id: UUID) -> Response:
        device = get_accessible_device(request, device_id)
        require_code(request)
        token, secret = device_services.rotate_token(device, now=timezone.now())
        answer = {**TokenAnswer(token).data, "token": secret.text}
        return Response(answer, status=status.HTTP_201_CREATED)


class DeviceTokenDetail(APIView):
    """One token of a device."""

    @extend_schema(responses={204: None})
    def delete(self, request: Request, device_id: UUID, token_id: UUID) -> Response:
        device_services.revoke_token(
            get_accessible_device(request, device_id).tokens.get(pk=token_id)
        )
        return Response(status=status.HTTP_204_NO_CONTENT)


class CurrentDeviceView(APIView):
    """Who the asking device is, and what waits for it."""

    permission_classes = (IsDevice,)

    @extend_schema(responses=CurrentDeviceSerializer)
    def get(self, request: Request) -> Response:
        now = timezone.now()
        device = request_device(request)
        presence.mark_seen(device, now=now)
        answer = {
            "id": device.pk,
            "name": device.name,
            "pending_commands": device.waiting_commands(now),
            "server_time": now,
            "live_url": live_url.live_url_for(request.get_host()),
        }
        return Response(CurrentDeviceSerializer(answer).data)


def filter_devices(devices: DeviceQuerySet, request: Request) -> DeviceQuerySet:
    """The devices that the query asks for; what it asks is compared, never interpreted."""
    now, metadata = timezone.now(), dict[str, str]()
    for name in request.query_params:
        value = str(request.query_params[name])
        if "\0" in value:
            raise serializers.ValidationError({"query": ["NUL is in no name."]})
        if name == "status" and value in Device.Status:
            devices = devices.having(now, status=value)
        elif name == "device_type":
            devices = devices.filter(device_type=value)
        elif name == "search":
            devices = devices.having(now, search=value)
        elif match := METADATA_KEY.fullmatch(name):
            metadata[match[1]] = value
        elif name not in ("limit", "cursor"):
            raise serializers.ValidationError({"query": ["There is no such filter."]})
    if len(metadata) > METADATA_KEYS_LIMIT:
        detail = f"At most {METADATA_KEYS_LIMIT} keys of metadata."
        raise serializers.ValidationError({"query": [detail]})
    return devices.having(now, metadata=metadata)


def _serialize_device(device: Device) -> dict[str, Any]:
    annotated = Device.objects.with_presence(timezone.now()).get(pk=device.pk)
    return dict(DeviceAnswer(annotated).data)
