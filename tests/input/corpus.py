"""All bad input there is."""

from collections import Counter

from tests.input import heads, malformed, values
from tests.input.case import Case

CASES: list[Case] = [*values.cases(), *heads.cases(), *malformed.cases()]

repeated = [name for name, count in Counter(case.name for case in CASES).items() if count > 1]
assert not repeated, repeated
