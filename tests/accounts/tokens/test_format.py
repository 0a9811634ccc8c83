import hashlib
import string

import pytest

from accounts.tokens import format as token_format

EXAMPLE = "tsd_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg2M5kfw"
"""A secret somebody may hold: what is accepted once must always be."""


def test_a_secret_is_a_prefix_43_random_characters_and_a_checksum():
    secret = token_format.generate("tsd")
    prefix, rest = secret.text.split("_")
    assert prefix == "tsd"
    assert len(rest) == 43 + 6
    assert set(rest) <= set(string.ascii_letters + string.digits)


def test_no_two_secrets_are_the_same():
    assert len({token_format.generate("tsd").text for _ in range(1000)}) == 1000


def test_what_is_made_can_be_parsed():
    secret = token_format.generate("tsu")
    assert token_format.parse(secret.text, "tsd", "tsu") == secret


def test_a_secret_of_long_ago_still_parses():
    assert token_format.parse(EXAMPLE, "tsd").text == EXAMPLE


@pytest.mark.parametrize("place", range(4, len(EXAMPLE)))
def test_a_typo_anywhere_is_refused_without_a_look_up(place):
    typo = "x" if EXAMPLE[place] != "x" else "y"
    with pytest.raises(token_format.MalformedToken):
        token_format.parse(EXAMPLE[:place] + typo + EXAMPLE[place + 1 :], "tsd")


def test_two_characters_the_wrong_way_round_are_refused():
    swapped = EXAMPLE[:10] + EXAMPLE[11] + EXAMPLE[10] + EXAMPLE[12:]
    with pytest.raises(token_format.MalformedToken):
        token_format.parse(swapped, "tsd")


def test_a_secret_of_another_kind_is_refused():
    with pytest.raises(token_format.MalformedToken):
        token_format.parse(EXAMPLE, "tsu", "tsv")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tsd_",
        EXAMPLE + "\n",
        " " + EXAMPLE,
        EXAMPLE[:-1],
        EXAMPLE + "0",
        EXAMPLE.upper(),
        EXAMPLE.replace("_", "-"),
        EXAMPLE.replace("0", "\N{ARABIC-INDIC DIGIT ZERO}"),
        "\0" * len(EXAMPLE),
    ],
)
def test_what_has_not_the_shape_is_refused(text):
    with pytest.raises(token_format.MalformedToken):
        token_format.parse(text, "tsd")


def test_what_is_stored_is_the_sha_256_of_all_of_it():
    secret = token_format.generate("tsd")
    assert secret.digest == hashlib.sha256(secret.text.encode()).digest()


def test_a_secret_does_not_show_itself_in_a_log():
    secret = token_format.generate("tsd")
    assert secret.text not in repr(secret)
    assert secret.text[:8] not in str(secret)


def test_what_stays_visible_is_its_beginning():
    assert token_format.PlaintextToken(EXAMPLE).visible == "tsd_0123"
