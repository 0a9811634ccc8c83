"""A real SMTP server, and the mail jobs of the worker."""

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from threading import Condition
from typing import Any

from aiosmtpd.controller import Controller

LINK = re.compile(r"^https?://\S+$", re.MULTILINE)


class Inbox:
    """Stores received mails; rejects them with a temporary error while `rejects` is true."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.arrived = Condition()
        self.rejects = False
        self.port = 0
        self.done = 0

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.rejects:
            return "451 Not now"
        with self.arrived:
            self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
            self.arrived.notify_all()
        return "250 OK"

    def to(self, address: str) -> list[EmailMessage]:
        """Return the mails to this e-mail address, with the oldest first."""
        return [mail for mail in self.mails if mail["To"] == address]

    def wait_for(self, address: str, subject: str, *, timeout: float) -> EmailMessage:
        """Wait for a mail with this subject to this e-mail address and return the newest."""

        def found() -> list[EmailMessage]:
            return [mail for mail in self.to(address) if mail["Subject"] == subject]

        with self.arrived:
            assert self.arrived.wait_for(found, timeout), [mail["Subject"] for mail in self.mails]
            return found()[-1]

    def deliver(self) -> int:
        """Run the mail jobs since the last call, as the worker does; return their number."""
        # Not at the top: the resilience tests import this module without Django settings.
        from procrastinate.contrib.django.models import ProcrastinateJob

        from accounts import tasks

        jobs = ProcrastinateJob.objects.filter(
            task_name="accounts.tasks.send_mail", id__gt=self.done
        ).order_by("id")
        for job in list(jobs):
            tasks.send_mail(**job.args)
            self.done = job.id
        return len(jobs)


@contextmanager
def mail_server() -> Iterator[Inbox]:
    """Run an SMTP server on its own port inside the context."""
    inbox = Inbox()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        inbox.port = int(listener.getsockname()[1])
    controller = Controller(inbox, hostname="127.0.0.1", port=inbox.port)
    controller.start()
    try:
        yield inbox
    finally:
        controller.stop()


def text_of(mail: EmailMessage) -> str:
    """Return the text part."""
    part = mail.get_body(("plain",))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


def html_of(mail: EmailMessage) -> str:
    """Return the HTML part."""
    part = mail.get_body(("html",))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


def link_of(mail: EmailMessage) -> str:
    """Return the URL of the link in the mail."""
    found = LINK.search(text_of(mail))
    assert found, text_of(mail)
    return found[0]


def secret_of(mail: EmailMessage) -> str:
    """Return the token at the end of the link."""
    return link_of(mail).rsplit("/", 1)[1]
