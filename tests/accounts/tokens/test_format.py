import hashlib
import string

import pytest

from accounts.tokens import format as token_format

EXAMPLE = "tsd_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg2M5kfw"
"""A token in the current format. Every later version must accept it."""


def test_a_token_is_a_prefix_43_random_characters_and_a_checksum():
    secret = token_format.generate("tsd")
    prefix, rest = secret.text.split("_")
    assert prefix == "tsd"
    assert len(rest) == 43 + 6
    assert set(rest) <= set(string.ascii_letters + string.digits)


def test_generated_tokens_are_unique():
    assert len({token_format.generate("tsd").text for _ in range(1000)}) == 1000


def test_a_generated_token_is_parsed():
    secret = token_format.generate("tsu")
    assert token_format.parse(secret.text, "tsd", "tsu") == secret


def test_a_token_of_an_earlier_version_is_parsed():
    assert token_format.parse(EXAMPLE, "tsd").text == EXAMPLE


@pytest.mark.parametrize("index", range(4, len(EXAMPLE)))
def test_a_token_with_one_wrong_character_is_rejected(index):
    typo = "x" if EXAMPLE[index] != "x" else "y"
    with pytest.raises(token_format.MalformedToken):
        token_format.parse(EXAMPLE[:index] + typo + EXAMPLE[index + 1 :], "tsd")


def test_a_token_with_two_swapped_characters_is_rejected():
    swapped = EXAMPLE[:10] + EXAMPLE[11] + EXAMPLE[10] + EXAMPLE[12:]
    with pytest.raises(token_format.MalformedToken):
        token_format.parse(swapped, "tsd")


def test_a_token_with_another_prefix_is_rejected():
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
def test_a_malformed_token_is_rejected(text):
    with pytest.raises(token_format.MalformedToken):
        token_format.parse(text, "tsd")


def test_the_digest_is_the_sha_256_of_the_whole_token():
    secret = token_format.generate("tsd")
    assert secret.digest == hashlib.sha256(secret.text.encode()).digest()


def test_repr_and_str_do_not_contain_the_token():
    secret = token_format.generate("tsd")
    assert secret.text not in repr(secret)
    assert secret.text[:8] not in str(secret)


def test_the_visible_part_is_the_first_eight_characters():
    assert token_format.PlaintextToken(EXAMPLE).display_prefix == "tsd_0123"
