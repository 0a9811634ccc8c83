"""What is told to whoever waits; the table comes last, and alone on standard output."""

import sys


def say(line: str) -> None:
    """Print a line at once."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
