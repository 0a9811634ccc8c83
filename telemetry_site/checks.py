"""With an https PUBLIC_URL the site refuses to start on settings that are unsafe in public."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

SHORTEST_KEY = 50


@register()
def known_values(**kwargs: Any) -> list[CheckMessage]:
    """Errors for settings that are one of a few words."""
    if settings.REGISTRATION in ("open", "invitation", "closed"):
        return []
    return [Error("REGISTRATION is open, invitation or closed.", id="site.E004")]


@register()
def safe_in_public(**kwargs: Any) -> list[CheckMessage]:
    """Errors that stop `run`, `migrate` and every other command, but only behind https."""
    if not settings.HTTPS:
        return []
    found: list[CheckMessage] = []
    if settings.DEBUG:
        found.append(Error("DEBUG shows the inside of the site to everybody.", id="site.E001"))
    if "*" in settings.ALLOWED_HOSTS:
        found.append(Error("ALLOWED_HOSTS must name the hosts, not '*'.", id="site.E002"))
    key = settings.SECRET_KEY
    if len(key) < SHORTEST_KEY or len(set(key)) < 10:
        hint = "Leave it unset, and one is made and kept in DATA_DIR."
        found.append(Error("SECRET_KEY is too weak.", hint=hint, id="site.E003"))
    return found
