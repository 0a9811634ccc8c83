"""Bodies that come deflated."""

import gzip
import io
import sys

import pytest

from common.api import content_encoding

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LIMIT = 1000


def with_checksum(raw):
    return zstd.compress(raw, options={int(zstd.CompressionParameter.checksum_flag): 1})


DEFLATE = {"gzip": gzip.compress, "x-gzip": gzip.compress, "zstd": with_checksum, "": bytes}


def read(raw, encoding, limit=LIMIT):
    return b"".join(content_encoding.iter_decoded(io.BytesIO(raw), encoding, limit=limit))


@pytest.mark.parametrize("encoding", DEFLATE)
@pytest.mark.parametrize("size", [0, 1, LIMIT])
def test_what_is_inflated_is_what_was_deflated(encoding, size):
    assert read(DEFLATE[encoding](b"x" * size), encoding) == b"x" * size


@pytest.mark.parametrize("encoding", DEFLATE)
def test_one_byte_more_than_may_be_is_refused(encoding):
    with pytest.raises(content_encoding.BodyTooLarge) as error:
        read(DEFLATE[encoding](b"x" * (LIMIT + 1)), encoding)
    assert str(LIMIT) in str(error.value)


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_bomb_is_inflated_no_further_than_the_limit(encoding):
    class Counting(io.BytesIO):
        taken = 0

        def read(self, size=-1):
            part = super().read(size)
            Counting.taken += len(part)
            return part

    bomb = DEFLATE[encoding](bytes(200 * 1024 * 1024))
    with pytest.raises(content_encoding.BodyTooLarge):
        list(content_encoding.iter_decoded(Counting(bomb * 50), encoding, limit=1024 * 1024))
    assert Counting.taken < len(bomb) * 50


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_members_one_after_the_other_are_one_body(encoding):
    assert read(DEFLATE[encoding](b"ab") + DEFLATE[encoding](b"cd"), encoding) == b"abcd"


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw[:-3],
        lambda raw: b"{}" + raw,
        lambda raw: raw[:10] + bytes([raw[10] ^ 0xFF]) + raw[11:],
        lambda raw: raw + b"more",
        lambda raw: b"no",
    ],
    ids=["cut off", "preceded", "changed", "followed", "none"],
)
def test_a_damaged_body_is_not_taken_for_a_whole_one(encoding, damage):
    whole = DEFLATE[encoding](bytes(range(256)))
    with pytest.raises(content_encoding.CorruptBody):
        read(damage(whole), encoding)


def test_a_frame_that_asks_for_much_memory_is_refused():
    options = {int(zstd.CompressionParameter.window_log): 27}
    large = zstd.ZstdCompressor(options=options)
    frame = large.compress(b"x" * 100) + large.flush()
    with pytest.raises(content_encoding.CorruptBody):
        read(frame, "zstd")


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "GZIP "])
def test_other_encodings_are_not_read(encoding):
    if encoding == "GZIP ":
        assert read(gzip.compress(b"x"), encoding) == b"x"
    else:
        with pytest.raises(content_encoding.UnsupportedEncoding, match="gzip and zstd"):
            read(b"x", encoding)
