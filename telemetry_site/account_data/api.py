"""API endpoints for the data export and the deletion of the user's account."""

from typing import Any

from django.http import HttpResponseBase
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import Archive, User
from accounts.profile import api as profile_api
from accounts.users import data_exports
from common.api.serializers import StrictSerializer
from telemetry_site.account_data import deletion as account_deletion
from telemetry_site.account_data import export as data_export


class DeleteAccountSerializer(StrictSerializer):
    password = serializers.CharField(max_length=1024, trim_whitespace=False)


class ArchiveAnswer(serializers.ModelSerializer[Archive]):
    class Meta:
        model = Archive
        fields = ("status", "requested_at", "expires_at", "size")


class DeleteAccountView(profile_api.CurrentUserView):
    """The user of the request."""

    @extend_schema(request=DeleteAccountSerializer, responses={204: None})
    def delete(self, request: Request) -> Response:
        """Delete the account with all its devices and readings, for good."""
        body = DeleteAccountSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        account_deletion.delete_account(
            _user(request), password=body.validated_data["password"], now=timezone.now()
        )
        return Response(status=status.HTTP_204_NO_CONTENT)


class DataExportView(APIView):
    """The data export of the user."""

    @extend_schema(responses=ArchiveAnswer)
    def get(self, request: Request) -> Response:
        """Return the status of the data export; 404 without one."""
        found = data_exports.get_for_user(_user(request), now=timezone.now())
        if found is None:
            raise Archive.DoesNotExist
        return Response(ArchiveAnswer(found).data)

    @extend_schema(request=None, responses={202: ArchiveAnswer})
    def post(self, request: Request) -> Response:
        """Request a new data export, at most once a day."""
        made = data_exports.request_export(_user(request), now=timezone.now())
        return Response(ArchiveAnswer(made).data, status=status.HTTP_202_ACCEPTED)


class DataExportFileView(APIView):
    """The file of a finished data export."""

    @extend_schema(responses={(200, "application/zip"): OpenApiTypes.BINARY})
    def get(self, request: Request) -> HttpResponseBase:
        return data_export.download_response(_user(request), now=timezone.now())


def _user(request: Request) -> User:
    user: Any = request.user
    assert isinstance(user, User)  # noqa: S101 - the permission class has checked it
    return user
