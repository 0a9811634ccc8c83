"""A real mail server, and what the worker would send to it."""

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
    """Keeps what it is given; while it `refuses`, it takes nothing, like a server in trouble."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.arrived = Condition()
        self.refuses = False
        self.port = 0
        self.done = 0

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.refuses:
            return "451 Not now"
        with self.arrived:
            self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
            self.arrived.notify_all()
        return "250 OK"

    def to(self, address: str) -> list[EmailMessage]:
        """The mails to this address, oldest first."""
        return [mail for mail in self.mails if mail["To"] == address]

    def wait_for(self, address: str, subject: str, *, patience: float) -> EmailMessage:
        """The newest mail of this subject to this address; wait for one that a worker sends."""

        def found() -> list[EmailMessage]:
            return [mail for mail in self.to(address) if mail["Subject"] == subject]

        with self.arrived:
            assert self.arrived.wait_for(found, patience), [mail["Subject"] for mail in self.mails]
            return found()[-1]

    def deliver(self) -> int:
        """Do what the worker does with the mails asked for since the last time; how many jobs."""
        # Not above: the harness of resilience has no settings of Django.
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
    """An SMTP server on a port of its own, until the end."""
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
    """The part for those who read text."""
    part = mail.get_body(("plain",))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


def html_of(mail: EmailMessage) -> str:
    """The part for those who read HTML."""
    part = mail.get_body(("html",))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


def link_of(mail: EmailMessage) -> str:
    """Where its button leads to."""
    found = LINK.search(text_of(mail))
    assert found, text_of(mail)
    return found[0]


def secret_of(mail: EmailMessage) -> str:
    """The secret at the end of its link."""
    return link_of(mail).rsplit("/", 1)[1]
