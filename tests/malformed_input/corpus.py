"""All cases of malformed input."""

from collections import Counter

from tests.malformed_input import headers, malformed, values
from tests.malformed_input.case import Case

CASES: list[Case] = [*values.cases(), *headers.cases(), *malformed.cases()]

repeated = [name for name, count in Counter(case.name for case in CASES).items() if count > 1]
assert not repeated, repeated
