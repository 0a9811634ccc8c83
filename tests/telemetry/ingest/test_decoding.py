"""Bodies of readings in four forms: the fast and the slow decoder give the same result."""

import json
from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.strict_json import JSONSyntaxError
from telemetry.ingest import decoding, validation
from telemetry.ingest.validation import InvalidReadings, ParsedReading
from tests.factories import NOW

DEVICE = UUID(int=7)
ONE = b'{"telemetry_type":"a","payload":{"t":21.5},"recorded_at":"2025-06-15T11:00:00Z"}'


def outcome(raw, by_lines, quickly):
    """Return the result for a body: its readings with their ids and its errors, or its
    exception.
    """
    with pytest.MonkeyPatch.context() as patch:
        if not quickly:
            patch.setattr(decoding, "decode_fast", lambda raw, by_lines=False: None)
        try:
            body = decoding.decode(raw, by_lines=by_lines)
        except (JSONSyntaxError, InvalidReadings) as error:
            return type(error), str(error)
    valid, rejected = validation.parse_all(
        body.values, device_id=DEVICE, now=NOW, at=body.pointer, is_list=body.is_list
    )
    return [(one.id, one.telemetry_type, one.json, one.recorded_at) for one in valid], rejected


times = st.one_of(
    st.just("2025-06-15T11:00:00Z"),
    st.just("2025-06-15T13:00:00.5+02:00"),
    st.just("2025-06-15T11:00:00.123456789Z"),
    st.just("2016-12-31T23:59:60Z"),
    st.sampled_from(["2025-W24-7T11:00:00Z", "2025-06-15T11:00:00", "2025-02-30T11:00:00Z", ""]),
    st.sampled_from(["1999-12-31T23:59:59Z", "2099-01-01T00:00:00Z", "2025-06-15 11:00:00z", 5]),
    st.none(),
)
texts = st.one_of(st.text(max_size=6), st.sampled_from(['a":', "\\u0000", "\0", "{", '"', "é"]))
leaves = st.one_of(
    st.floats(),
    st.integers(),
    st.sampled_from([2**53, 2**53 + 1, -(2**53), 1e30, 1.1e30, -0.0, 1e15, 5e-324]),
    st.booleans(),
    st.none(),
    texts,
)
payloads = st.dictionaries(
    texts,
    st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    ),
    max_size=4,
)
usual = st.fixed_dictionaries(
    {
        "telemetry_type": st.sampled_from(["environment", "a-b_c", "", "ä", "x" * 65]),
        "payload": payloads,
    },
    optional={"recorded_at": times},
)
sent = st.one_of(
    usual, usual, usual, st.dictionaries(st.text(max_size=3), leaves, max_size=2), leaves
)


@settings(max_examples=400)
@given(
    st.lists(sent, max_size=4),
    st.sampled_from(["one", "array", "readings", "lines"]),
    st.booleans(),
    st.sampled_from([(",", ":"), (", ", ": "), (" , ", " : ")]),
)
def test_the_fast_and_the_slow_decoder_return_the_same_result(values, form, ascii_only, separators):
    def text(value):
        return json.dumps(value, ensure_ascii=ascii_only, separators=separators).encode(
            errors="surrogatepass"
        )

    raw = {
        "one": text(values[0]) if values else b"",
        "array": text(values),
        "readings": text({"readings": values}),
        "lines": b"\n".join(map(text, values)),
    }[form]
    by_lines = form == "lines"
    assert outcome(raw, by_lines, quickly=True) == outcome(raw, by_lines, quickly=False)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"telemetry_type":"a","payload":{"t":1,"t":1}}',
        b'{"telemetry_type":"a","payload":{"t":1},"payload":{"t":1}}',
        b'{"telemetry_type":"a","payload":{"t":{"u":1,"u":1}}}',
        b'{"telemetry_type":"a","payload":{"t":1, "x":"\\":", "t" :1}}',
        b'[{"telemetry_type":"a","payload":{"t":1},"recorded_at":null,"recorded_at":null}]',
        b'{"readings":[' + ONE + b'],"readings":[' + ONE + b"]}",
    ],
)
def test_a_duplicate_key_is_rejected_by_both_decoders(raw):
    found = outcome(raw, by_lines=False, quickly=True)
    assert found == outcome(raw, by_lines=False, quickly=False)
    assert found[0] in ([], InvalidReadings)


def test_a_usual_body_is_decoded_by_the_fast_decoder():
    for raw, by_lines in [
        (ONE, False),
        (b"[%b,%b]" % (ONE, ONE), False),
        (b'{"readings": [%b]}' % ONE, False),
        (b"%b\n%b\n" % (ONE, ONE), True),
        (b'{"telemetry_type":"a","payload":{"gps":{"lat":1.5},"on":true,"l":[1,"x"]}}', False),
    ]:
        assert decoding.decode_fast(raw, by_lines=by_lines) is not None, raw


class TestNDJSON:
    def decode(self, raw):
        return decoding.decode(raw, by_lines=True)

    @pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\n\n", b" \n"])
    def test_each_line_is_a_reading_and_empty_lines_are_skipped(self, end):
        assert len(self.decode(end.join([ONE, ONE, ONE]) + end).values) == 3

    def test_a_line_that_is_not_json_is_rejected_without_the_others(self):
        raw = b"\n".join([ONE, b'{"telemetry_type": "a", "pay', b"\xff", ONE])
        values = self.decode(raw).values
        valid, rejected = validation.parse_all(values, device_id=DEVICE, now=NOW)
        assert len(valid) == 2
        assert {index: faults[0].code for index, faults in rejected.items()} == {
            1: "not-json",
            2: "not-json",
        }

    def test_two_objects_on_one_line_are_one_invalid_line(self):
        (value,) = self.decode(ONE + b" " + ONE).values
        assert isinstance(value, JSONSyntaxError)

    def test_an_array_on_a_line_is_not_a_reading(self):
        values = self.decode(b"[" + ONE + b"]\n" + ONE).values
        valid, rejected = validation.parse_all(values, device_id=DEVICE, now=NOW)
        assert (len(valid), rejected[0][0].code) == (1, "not-an-object")

    def test_too_many_lines_are_rejected_before_decoding(self, settings, monkeypatch):
        settings.READINGS_PER_REQUEST = 10
        monkeypatch.setattr(decoding, "_decode_ndjson", None)
        with pytest.raises(decoding.TooManyReadings):
            self.decode(b"1\n" * 21)


def test_a_reading_older_than_the_retention_is_rejected_with_the_earliest_time():
    value = {"telemetry_type": "a", "payload": {"a": 1}, "recorded_at": "2025-06-15T11:00:00Z"}
    (fault,) = validation.parse(value, device_id=DEVICE, now=NOW, earliest=NOW)
    assert (fault.pointer, fault.code) == ("/recorded_at", "time-out-of-range")
    assert "2025-06-15T12:00:00.000000Z" in fault.detail
    early = NOW - timedelta(hours=1)
    assert isinstance(
        validation.parse(value, device_id=DEVICE, now=NOW, earliest=early), ParsedReading
    )
