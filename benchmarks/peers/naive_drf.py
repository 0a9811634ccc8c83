"""Django REST framework as its tutorial shows it: ModelViewSet, ModelSerializer, gunicorn with
two sync workers, everything else by default. One file, run with `DJANGO_SETTINGS_MODULE` naming it.
"""

import os
import uuid
from hashlib import sha256
from urllib.parse import parse_qs, urlsplit

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application

URL = urlsplit(os.environ["DATABASE_URL"])
QUERY = {name: values[0] for name, values in parse_qs(URL.query).items()}

settings.configure(
    ALLOWED_HOSTS=["*"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": URL.path.removeprefix("/"),
            "USER": URL.username,
            "HOST": QUERY["host"],
            "PORT": QUERY["port"],
        }
    },
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "rest_framework"],
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ],
    ROOT_URLCONF=__name__,
    USE_TZ=True,
    REST_FRAMEWORK={
        "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.LimitOffsetPagination",
        "PAGE_SIZE": 100,
        "UNAUTHENTICATED_USER": None,
    },
)
django.setup()

from django.contrib.auth.models import AnonymousUser
from django.db import models
from django.urls import include, path
from django.utils import timezone
from rest_framework import authentication, exceptions, routers, serializers, viewsets


class Device(models.Model):
    id = models.UUIDField(primary_key=True)
    name = models.TextField()
    deleted_at = models.DateTimeField(null=True)

    class Meta:
        app_label = "naive"
        managed = False
        db_table = "devices"


class DeviceToken(models.Model):
    id = models.UUIDField(primary_key=True)
    device = models.ForeignKey(Device, models.CASCADE)
    token_hash = models.BinaryField()
    revoked = models.BooleanField()

    class Meta:
        app_label = "naive"
        managed = False
        db_table = "device_tokens"


class Telemetry(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    device = models.ForeignKey(Device, models.CASCADE)
    telemetry_type = models.CharField(max_length=64)
    payload = models.JSONField()
    recorded_at = models.DateTimeField()
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        app_label = "naive"
        managed = False
        db_table = "telemetry"


class TelemetrySerializer(serializers.ModelSerializer[Telemetry]):
    class Meta:
        model = Telemetry
        fields = "__all__"
        read_only_fields = ("id", "device", "created_at")


class TokenAuthentication(authentication.BaseAuthentication):
    def authenticate(self, request):  # type: ignore[no-untyped-def]
        secret = request.headers.get("Authorization", "").removeprefix("Bearer ")
        try:
            token = DeviceToken.objects.select_related("device").get(
                token_hash=sha256(secret.encode()).digest(), revoked=False, device__deleted_at=None
            )
        except DeviceToken.DoesNotExist:
            raise exceptions.AuthenticationFailed from None
        return AnonymousUser(), token


class TelemetryViewSet(viewsets.ModelViewSet[Telemetry]):
    serializer_class = TelemetrySerializer
    authentication_classes = (TokenAuthentication,)

    def get_queryset(self):  # type: ignore[no-untyped-def]
        return Telemetry.objects.filter(device=self.request.auth.device).order_by("-recorded_at")

    def get_serializer(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        kwargs.setdefault("many", isinstance(kwargs.get("data"), list))
        return super().get_serializer(*args, **kwargs)

    def perform_create(self, serializer):  # type: ignore[no-untyped-def]
        serializer.save(device=self.request.auth.device)


router = routers.DefaultRouter()
router.register("readings", TelemetryViewSet, "reading")
urlpatterns = [path("", include(router.urls))]
application = get_wsgi_application()
