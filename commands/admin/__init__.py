"""Admin of commands, batches and command types."""

from commands.admin import catalogue, commands
from commands.batches import admin as batches

__all__ = ["batches", "catalogue", "commands"]
