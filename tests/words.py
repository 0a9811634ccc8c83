"""Find forbidden words in code, pages, catalogues and documents: `python -m tests.words`.

A standard term says more: "somebody" is a user or a client, "is told" is a response, a notification
or a message.
"""

import re
import subprocess
import sys

WORDS = (
    *("whoever", "whom", "whomever", "somebody", "nobody", "anybody", "everybody"),
    *("anew", "in vain", "for ever", "at the most", "at the least", "of yours", "of ours"),
    *("mend", "mends", "mended", "mending", "is told", "are told", "be told", "heard of"),
)
PATTERN = re.compile(r"\b(" + "|".join(WORDS).replace(" ", r"\s+") + r")\b", re.I)
NOT_READ = re.compile(r"^(static/vendor/|benchmarks/results/|tests/words\.py|.*\.(mo|png|xz|ico)$)")
EXCEPTIONS: tuple[str, ...] = ()
"""Files that need such a word, for example in a text that a test sends."""


def main() -> int:
    """Print each occurrence; return 1 if there is one, else 0."""
    files = subprocess.check_output(["git", "ls-files"], text=True).split()
    found = 0
    for file in files:
        if NOT_READ.match(file) or file in EXCEPTIONS:
            continue
        with open(file, encoding="utf-8", errors="ignore") as stream:
            text = stream.read()
        for match in PATTERN.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            print(f"{file}:{line}: {' '.join(match[0].split())}")  # noqa: T201 - the output of this script
            found += 1
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
