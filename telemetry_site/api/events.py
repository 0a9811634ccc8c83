"""Redirects requests for events to the live process."""

from django.http import HttpResponse
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from devices import live_url
from telemetry_site.api.problems import problem_response


class EventStreamRedirectView(APIView):
    """Stream the events of the user's devices as server-sent events; each is a hint to fetch again.

    `ready` is sent first, and whenever events may have been missed; then `reading`, `status` and
    `command` with `device_id`, a `command` also with `command_id`.
    """

    @extend_schema(
        parameters=[
            OpenApiParameter(
                "device", str, many=True, description="Only events of these devices, at most 100."
            )
        ],
        responses={
            (200, "text/event-stream"): OpenApiResponse(
                str, "Open until the client or the server closes it."
            ),
            307: OpenApiResponse(description="Redirect to the `live_url` of `GET /device`."),
            503: OpenApiResponse(description="The live process is not available."),
        },
    )
    def get(self, request: Request) -> Response | HttpResponse:
        url = live_url.live_url_for(request.get_host())
        if url is None or url == f"{request.scheme}://{request.get_host()}":
            return problem_response(
                request._request, 503, detail="Event streams are not available. Poll instead."
            )
        location = {"Location": f"{url}{request.get_full_path()}"}
        return Response(status=status.HTTP_307_TEMPORARY_REDIRECT, headers=location)
