"""The WSGI application that granian serves."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "telemetry_site.settings")
os.environ["SERVES_REQUESTS"] = "true"

application = get_wsgi_application()
