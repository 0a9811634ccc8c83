"""Error responses, and the headers of every response."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.db import connection, transaction
from django.http import HttpResponse
from django.test import Client
from django.urls import path
from rest_framework.exceptions import Throttled
from rest_framework.views import APIView

from commands.models import Command
from devices.models import Device
from telemetry_site import urls
from telemetry_site.api.problems import csrf_failure
from tests.conftest import Api
from tests.factories import DeviceFactory, user_token

SECRET = "the password is swordfish"


def boom(request):
    raise RuntimeError(SECRET)


def forbidden(request):
    raise PermissionDenied(SECRET)


def suspicious(request):
    raise SuspiciousOperation(SECRET)


class Boom(APIView):
    permission_classes = ()

    def get(self, request):
        raise RuntimeError(SECRET)


class Forbidden(Boom):
    def get(self, request):
        raise PermissionDenied(SECRET)


class Busy(Boom):
    def get(self, request):
        raise Throttled(wait=2.5)


urlpatterns = [
    path("api/boom", boom),
    path("api/boom-in-a-view", Boom.as_view()),
    path("api/forbidden", forbidden),
    path("api/forbidden-in-a-view", Forbidden.as_view()),
    path("api/suspicious", suspicious),
    path("api/busy", Busy.as_view()),
    path("api/csrf", csrf_failure),
    path("own-headers", lambda request: HttpResponse(headers={"Cache-Control": "max-age=60"})),
    path("boom", boom),
    path("forbidden", forbidden),
    *urls.urlpatterns,
]
handler400, handler403 = urls.handler400, urls.handler403
handler404, handler500 = urls.handler404, urls.handler500


@pytest.fixture
def visitor(db):
    return Client(raise_request_exception=False)


@pytest.mark.urls(__name__)
@pytest.mark.parametrize(
    ("where", "status", "title"),
    [
        ("boom", 500, "Internal Server Error"),
        ("boom-in-a-view", 500, "Internal Server Error"),
        ("forbidden", 403, "Forbidden"),
        ("forbidden-in-a-view", 403, "Forbidden"),
        ("suspicious", 400, "Bad Request"),
        ("csrf", 403, "Forbidden"),
        ("busy", 429, "Too Many Requests"),
        ("nothing", 404, "Not Found"),
    ],
)
def test_every_error_of_the_api_is_a_problem_document(visitor, where, status, title):
    answer = visitor.get(f"/api/{where}")
    assert answer.status_code == status
    assert answer["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert problem == {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": problem["detail"],
        "instance": f"/api/{where}",
        "request_id": answer["X-Request-Id"],
        "errors": [],
    }
    assert problem["detail"]
    assert SECRET.encode() not in answer.content
    assert b"Traceback" not in answer.content


@pytest.mark.urls(__name__)
def test_a_throttled_request_gets_retry_after(visitor):
    assert visitor.get("/api/busy")["Retry-After"] == "3"


@pytest.mark.urls(__name__)
@pytest.mark.parametrize(("where", "status"), [("boom", 500), ("forbidden", 403), ("nowhere", 404)])
def test_outside_the_api_an_error_is_a_page(visitor, where, status):
    answer = visitor.get(f"/{where}")
    assert answer.status_code == status
    assert answer["Content-Type"].startswith("text/html")
    assert answer["X-Request-Id"] in answer.content.decode()
    assert SECRET.encode() not in answer.content


def test_the_requested_path_is_escaped_on_the_error_page(visitor):
    answer = visitor.get("/<script>alert(1)</script>")
    assert answer.status_code == 404
    assert b"<script>alert" not in answer.content


@pytest.mark.urls(__name__)
@pytest.mark.parametrize(
    "where",
    ["/", "/nowhere", "/boom", "/forbidden", "/admin/login/", "/api/v1/devices", "/api/v1/schema",
     "/api/boom", "/api/nothing", "/api/busy", "/static/nothing.css"],
)  # fmt: skip
def test_every_kind_of_response_has_the_security_headers(visitor, where):
    answer = visitor.get(where)
    assert answer["Content-Security-Policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    )
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Referrer-Policy"] == "same-origin"
    assert answer["Cross-Origin-Opener-Policy"] == "same-origin"
    assert answer["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "camera=()" in answer["Permissions-Policy"]
    assert "no-store" in answer["Cache-Control"]
    assert len(answer["X-Request-Id"]) == 32


@pytest.mark.parametrize(
    ("how", "status"),
    [
        ({"HTTP_TRANSFER_ENCODING": "gzip, chunked"}, 411),
        ({"CONTENT_LENGTH": str(1024 * 1024 + 1)}, 413),
        ({"CONTENT_LENGTH": "9" * 5000}, 413),
        ({"CONTENT_LENGTH": "many"}, 400),
        ({"CONTENT_LENGTH": "-1"}, 400),
        ({"CONTENT_LENGTH": "1_0"}, 400),
        ({"HTTP_HOST": "evil.example"}, 400),
    ],
)
def test_a_response_to_a_request_rejected_early_has_all_headers(visitor, how, status):
    answer = visitor.post("/api/v1/auth/login", b"{}", content_type="application/json", **how)
    assert answer.status_code == status
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["request_id"] == answer["X-Request-Id"]
    assert "Content-Security-Policy" in answer
    assert answer["Cache-Control"] == "no-store"
    # Without it the server sends chunks, which small devices cannot parse.
    assert answer["Content-Length"] == str(len(answer.content))


@pytest.mark.urls(__name__)
def test_headers_set_by_a_view_are_kept(visitor):
    assert visitor.get("/own-headers")["Cache-Control"] == "max-age=60"


def test_request_ids_are_unique(visitor):
    assert len({visitor.get("/api/v1/devices")["X-Request-Id"] for _ in range(10)}) == 10


def test_a_request_id_sent_by_the_client_is_ignored(visitor):
    answer = visitor.get("/api/v1/devices", headers={"X-Request-Id": "<b>mine</b>"})
    assert "mine" not in answer["X-Request-Id"]


@pytest.mark.django_db(transaction=True)
def test_a_lock_timeout_is_503_and_nothing_is_stored():
    device = DeviceFactory.create()
    api = Api(user_token(device.user))
    locked, done = threading.Event(), threading.Event()

    def hold():
        try:
            with transaction.atomic():
                Device.objects.select_for_update().get(pk=device.pk)
                locked.set()
                done.wait(120)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool, connection.cursor() as cursor:
        holding = pool.submit(hold)
        try:
            assert locked.wait(120), "the row is not locked"
            cursor.execute("SET lock_timeout = '20ms'")
            answer = api.post(f"/api/v1/devices/{device.pk}/commands", {"command_name": "a"})
        finally:
            done.set()
            holding.result()
            cursor.execute("SET lock_timeout = '2s'")
    assert answer.status_code == 503
    assert answer["Content-Type"] == "application/problem+json"
    assert answer["Retry-After"] == "1"
    assert b"lock" not in answer.content
    assert not Command.objects.exists()
