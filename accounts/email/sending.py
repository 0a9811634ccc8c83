"""E-mail: enqueued in a transaction, rendered and sent by the worker.

A job holds the type of the mail and the id of its object. A notice to an e-mail address that may be
replaced before the mail is sent also holds the old and the new e-mail address. The token of a link
is generated when the mail is sent, so that no table and no log contains it.
"""

from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string
from django.utils import translation
from procrastinate.contrib.django import app

from accounts.tokens.format import PlaintextToken


def enqueue(message_type: str, object_id: UUID, **arguments: str) -> None:
    """Enqueue a mail of this type (see accounts/tasks.py). The worker sends it after the commit.

    The mail has the language of this request, unless the recipient has chosen another. `arguments`
    are values that may change before the mail is sent, such as the recipient.
    """
    app.configure_task("accounts.tasks.send_mail").defer(
        kind=message_type,
        subject=str(object_id),
        language=translation.get_language(),
        **arguments,
    )


def build_url(path: str, secret: PlaintextToken | None = None) -> str:
    """Return the URL of a link in a mail. The host is PUBLIC_URL, not the Host header."""
    return f"{settings.PUBLIC_URL}/{path}" + (f"/{secret.text}" if secret else "")


def send_email(name: str, *, to: str, language: str = "", **context: Any) -> None:
    """Render and send accounts/mail/<name> as text (its first line is the subject) and HTML.

    Without `language`, the active language is used. Raises OSError or SMTPException if the mail
    server does not accept the mail.
    """
    context |= {"site": settings.PUBLIC_URL_PARTS.netloc, "to": to}
    with translation.override(language or translation.get_language()):
        subject, _, text = render_to_string(f"accounts/mail/{name}.txt", context).partition("\n")
        html = render_to_string(f"accounts/mail/{name}.html", context)
    message = EmailMultiAlternatives(subject.strip(), text.strip() + "\n", to=[to])
    message.attach_alternative(html, "text/html")
    # Prevents automatic replies, such as out-of-office messages.
    message.extra_headers["Auto-Submitted"] = "auto-generated"
    message.send()
