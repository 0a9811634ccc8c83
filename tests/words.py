"""Finds words that do not belong in code, pages, catalogues and documents: `python -m tests.words`.

They say less than the field's terms: "somebody" is a user or a client, "is told" is a response, a
notification or a message.
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
EXCEPT: tuple[str, ...] = ()
"""Files with a word that is meant, such as a text that a test sends."""


def main() -> int:
    """Print each place; 1 if there is one."""
    files = subprocess.check_output(["git", "ls-files"], text=True).split()
    found = 0
    for file in files:
        if NOT_READ.match(file) or file in EXCEPT:
            continue
        with open(file, encoding="utf-8", errors="ignore") as opened:
            text = opened.read()
        for match in PATTERN.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            print(f"{file}:{line}: {' '.join(match[0].split())}")  # noqa: T201 - what it is for
            found += 1
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
