"""Mail: asked for in a transaction, written and sent by the worker.

A job says what kind of mail it is and whom it is about, and nothing else: the secret of a link is
made when the mail is sent, so that no table and no log ever holds one.
"""

from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string
from django.utils import translation
from procrastinate.contrib.django import app

from accounts.tokens.format import PlaintextToken


def enqueue(kind: str, subject: UUID) -> None:
    """Have the worker send a mail of this kind (see accounts/tasks.py) once this is committed.

    It is in the language of this request, unless it goes to a user who has chosen another.
    """
    app.configure_task("accounts.tasks.send_mail").defer(
        kind=kind, subject=str(subject), language=translation.get_language()
    )


def build_url(path: str, secret: PlaintextToken | None = None) -> str:
    """Where a mail leads to: below PUBLIC_URL, whatever host a request has named."""
    return f"{settings.PUBLIC_URL}/{path}" + (f"/{secret.text}" if secret else "")


def send_email(name: str, *, to: str, language: str = "", **context: Any) -> None:
    """Send accounts/mail/<name>, as text (its first line is the subject) and as HTML; in this
    language, or in the one that is spoken.

    Raises OSError or SMTPException when no server takes it.
    """
    context |= {"site": settings.PUBLIC_URL_PARTS.netloc, "to": to}
    with translation.override(language or translation.get_language()):
        subject, _, text = render_to_string(f"accounts/mail/{name}.txt", context).partition("\n")
        page = render_to_string(f"accounts/mail/{name}.html", context)
    message = EmailMultiAlternatives(subject.strip(), text.strip() + "\n", to=[to])
    message.attach_alternative(page, "text/html")
    # No answering machine should answer.
    message.extra_headers["Auto-Submitted"] = "auto-generated"
    message.send()
