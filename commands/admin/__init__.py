"""Commands, for staff: each of them, those sent to many, and what can be asked."""

from commands.admin import batches, catalogue, commands

__all__ = ["batches", "catalogue", "commands"]
