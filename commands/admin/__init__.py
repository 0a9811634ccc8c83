"""Commands, for staff: each of them, those sent to many, and what can be asked."""

from commands.admin import catalogue, commands
from commands.batches import admin as batches

__all__ = ["batches", "catalogue", "commands"]
