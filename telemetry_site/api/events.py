"""What the site itself says where events are asked for: elsewhere, or not at all."""

from django.http import HttpResponse
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from devices import live_url
from telemetry_site.api.problems import problem_response


class EventStreamRedirectView(APIView):
    """A stream of what happens to the user's devices: server-sent events, each a hint to ask anew.

    `ready` comes first, and whenever some may have been missed; then `reading`, `status` and
    `command` with `device_id`, and of a command its `command_id`.
    """

    @extend_schema(
        parameters=[
            OpenApiParameter(
                "device", str, many=True, description="Only of these devices, 100 at the most."
            )
        ],
        responses={
            (200, "text/event-stream"): OpenApiResponse(str, "Until either side ends it."),
            307: OpenApiResponse(description="To the `live_url` that `GET /device` tells."),
            503: OpenApiResponse(description="There are no streams here."),
        },
    )
    def get(self, request: Request) -> Response | HttpResponse:
        url = live_url.live_url_for(request.get_host())
        if url is None or url == f"{request.scheme}://{request.get_host()}":
            return problem_response(
                request._request, 503, detail="Here nobody tells of events; ask again."
            )
        location = {"Location": f"{url}{request.get_full_path()}"}
        return Response(status=status.HTTP_307_TEMPORARY_REDIRECT, headers=location)
