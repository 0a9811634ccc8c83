"""What concerns all that belongs to a user, for programs: taking it along, and leaving."""

from typing import Any

from django.http import HttpResponseBase
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import archives, profile_api
from accounts.models import Archive, User
from accounts.strict import StrictSerializer
from telemetry_site import archive, leaving


class LeavingBody(StrictSerializer):
    password = serializers.CharField(max_length=1024, trim_whitespace=False)


class ArchiveAnswer(serializers.ModelSerializer[Archive]):
    class Meta:
        model = Archive
        fields = ("status", "requested_at", "expires_at", "size")


class Me(profile_api.Me):
    """The user who is speaking."""

    @extend_schema(request=LeavingBody, responses={204: None})
    def delete(self, request: Request) -> Response:
        """Delete the account with all its devices and readings, for good."""
        body = LeavingBody(data=request.data)
        body.is_valid(raise_exception=True)
        leaving.leave(_user(request), password=body.validated_data["password"], now=timezone.now())
        return Response(status=status.HTTP_204_NO_CONTENT)


class OwnArchive(APIView):
    """All that belongs to the user, as a file."""

    @extend_schema(responses=ArchiveAnswer)
    def get(self, request: Request) -> Response:
        """How far it is; 404 where there is none."""
        found = archives.of(_user(request), now=timezone.now())
        if found is None:
            raise Archive.DoesNotExist
        return Response(ArchiveAnswer(found).data)

    @extend_schema(request=None, responses={202: ArchiveAnswer})
    def post(self, request: Request) -> Response:
        """Have a new one made, once a day."""
        made = archives.request(_user(request), now=timezone.now())
        return Response(ArchiveAnswer(made).data, status=status.HTTP_202_ACCEPTED)


class ArchiveFile(APIView):
    """The file itself, while it is ready."""

    @extend_schema(responses={(200, "application/zip"): OpenApiTypes.BINARY})
    def get(self, request: Request) -> HttpResponseBase:
        return archive.answer(_user(request), now=timezone.now())


def _user(request: Request) -> User:
    user: Any = request.user
    assert isinstance(user, User)  # noqa: S101 - IsUser has let them in
    return user
