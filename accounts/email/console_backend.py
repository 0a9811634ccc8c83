"""E-mail backend for sites without a mail server."""

from django.core.mail.backends import console


class PlainConsoleBackend(console.EmailBackend):
    """Print mails to the console in plain text."""

    def write_message(self, message):  # type: ignore[no-untyped-def]
        """Print recipient, subject and text, without MIME encoding."""
        line = f"{'─' * 78}\n"
        self.stream.write(f"{line}To {message.to[0]}: {message.subject}\n\n{message.body}{line}")
