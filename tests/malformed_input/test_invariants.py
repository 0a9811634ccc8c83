"""Invariants of every parser, over the corpus and over mutations of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.malformed_input.invariants import TARGETS
from tests.malformed_input.seeds import seeds

SEEDS = seeds()


@pytest.mark.parametrize("name", TARGETS)
def test_on_the_corpus_every_parser_keeps_its_invariants(name: str) -> None:
    assert len(SEEDS[name]) >= 3
    for raw in SEEDS[name]:
        TARGETS[name](raw)


@pytest.mark.parametrize("name", TARGETS)
def test_on_mutations_of_the_corpus_every_parser_keeps_its_invariants(name: str) -> None:
    @given(
        st.sampled_from(SEEDS[name]),
        st.integers(0, 5000),
        st.integers(0, 20),
        st.binary(max_size=20) | st.sampled_from([b'"', b"0", b"\0", b"[", b"{", b":", b"\n"]),
    )
    def try_it(raw: bytes, at: int, less: int, more: bytes) -> None:
        at %= len(raw) + 1
        TARGETS[name](raw[:at] + more + raw[at + less :])

    try_it()
