"""Prints progress to standard error; only the table at the end goes to standard output."""

import sys


def say(line: str) -> None:
    """Print a line at once."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
