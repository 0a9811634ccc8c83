"""Mail where there is no mail server."""

from django.core.mail.backends import console


class PlainConsoleBackend(console.EmailBackend):
    """Prints what people would read of a mail."""

    def write_message(self, message):  # type: ignore[no-untyped-def]
        """To whom it is, its subject and its text; not how it is encoded."""
        line = f"{'─' * 78}\n"
        self.stream.write(f"{line}To {message.to[0]}: {message.subject}\n\n{message.body}{line}")
