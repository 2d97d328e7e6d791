"""What a client sends is read as Ollama reads it: half a letter is one lost letter, an impossible number a fault."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.dialects.framing import doubles, lenient
from ollama_proxyd.dialects.framing.doubles import MOST_DECODED_BYTES
from ollama_proxyd.dialects.framing.jsonbody import decode_object
from ollama_proxyd.dialects.framing.received import received
from tests.any_json import ANY_JSON

IMPOSSIBLE = [b"1e999", b"-1E+400", b"9" * 309, b"1" * 4400, b"7" * 1_000_000, b"0." + b"3" * 1_000_000]
PLACES = [b'{"x":%b}', b'{"a":1,"x":{"y":[%b]}}', b'{"a":"b","x":[1,{"z":%b}],"c":[]}']


def kept(body: bytes) -> bytes:
    return body


@pytest.mark.parametrize("number", IMPOSSIBLE, ids=lambda number: f"{number[:5].decode()}-{len(number)}")
@pytest.mark.parametrize("place", PLACES)
def test_a_number_that_no_double_holds_is_refused_with_its_field(number: bytes, place: bytes) -> None:
    with pytest.raises(ProxyError, match="'x'") as caught:
        received(place % number, kept)
    assert (caught.value.kind, caught.value.param) == (ErrorKind.INVALID_REQUEST, "x")
    assert len(caught.value.message) < 200


@pytest.mark.parametrize("number", [b"1e308", b"-0.0", b"18446744073709551615", b"9" * 308, b"0." + b"1" * 200])
def test_a_number_that_a_double_holds_passes(number: bytes) -> None:
    body = b'{"x":%b}' % number
    assert received(body, kept) is body


def test_digits_in_a_text_are_no_number() -> None:
    body = json.dumps({"prompt": "3" * 5000, "more": "1e999"}).encode()
    assert received(body, kept) is body


def test_a_million_digits_are_found_in_a_large_body_too() -> None:
    body = b'{"text":"%b","x":%b}' % (b"a" * MOST_DECODED_BYTES, b"1" * 1_000_000)
    with pytest.raises(ProxyError, match="no double holds"):
        received(body, kept)


@pytest.mark.parametrize("half", [b"\\ud83d", b"\\uDE00", b"\\ud83d\\ud83d\\ude00", b"\\ud83d\\u0041", b"\xed\xa0\xbd"])
def test_half_a_letter_is_read_as_the_replacement_character(half: bytes) -> None:
    body = b'{"text":"a%b","more":"\\\\ud83d \\"\\u00e9"}' % half
    read = received(body, decode_object)
    assert "\ufffd" in read["text"]
    assert not any("\ud800" <= letter <= "\udfff" for letter in read["text"])
    assert read["more"] == '\\ud83d "é'


@pytest.mark.parametrize("odd", [b"\xff", b"caf\xe9", b"\xc3", b"\xed\xa0\xbd", b"\xf0\x9f\x98"])
@pytest.mark.parametrize("before", [b"", b"x" * (lenient.PIECE_BYTES - 10)])
def test_bytes_that_are_not_utf_8_reach_no_engine(odd: bytes, before: bytes) -> None:
    body = received(b'{"text":"%b%b","more":"\xc3\xa9"}' % (before, odd), kept)
    read = json.loads(body.decode())
    assert "\ufffd" in read["text"]
    assert read["more"] == "é"


def test_a_letter_on_the_border_of_two_pieces_is_whole() -> None:
    for before in range(lenient.PIECE_BYTES - 16, lenient.PIECE_BYTES):
        body = b'{"text":"%b\xf0\x9f\x98\x80"}' % (b"x" * before)
        assert received(body, kept) is body


@given(ANY_JSON)
def test_a_body_without_either_is_the_same_object(value: Any) -> None:
    body = json.dumps({"x": value}).encode()
    try:
        assert received(body, kept) is body
    except ProxyError as refusal:
        assert "no double holds" in refusal.message  # noqa: PT017 - only the samples with such numbers are refused
        assert any(len(run) > 308 for run in "".join(c if c.isdigit() else " " for c in body.decode()).split())


@given(st.binary(max_size=60))
def test_bytes_that_are_no_json_are_for_the_parser_to_refuse(body: bytes) -> None:
    assert received(body, len) >= 0


TOKENS = st.sampled_from(
    (
        *(b"\\ud800", b"\\udc00", b"\\ud83d\\ude00", b"\\\\", b"\\n", b'\\"', b"\\"),
        *(b"\xed\xa0\x80", b"\xed", "\ud558".encode(), b"x", b"a longer text"),
    )
)


@given(st.lists(TOKENS, max_size=60).map(b"".join), st.integers(12, 60), st.integers(1, 40))
def test_a_text_is_mended_alike_however_it_is_cut(text: bytes, piece: int, step: int) -> None:
    whole = lenient.without_half_letters(text)
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(lenient, "PIECE_BYTES", piece)
        changed.setattr(lenient, "_STEP", step)
        assert lenient.without_half_letters(text) == whole


@pytest.mark.parametrize("number", [b"1e999", b"-1.5E+0400", b"7" * 220 + b"e90", b"12345678901e299", b"3" * 309])
@pytest.mark.parametrize("text", [b"a", b"\\\\", b'\\"', b"1e999,", b"4"])
def test_no_double_holds_a_number_wherever_it_stands_in_a_large_body(number: bytes, text: bytes) -> None:
    texts = b'"%b"' % (text * (MOST_DECODED_BYTES // len(text)))
    for body in (b'{"text":%b,"x":%b}', b'{"y":{"text":%b},"x":[%b]}'):
        with pytest.raises(ProxyError, match="'x'"):
            received(body % (texts, number), kept)
    body = b'{"text":%b,"x":"\\"%b ,"}' % (texts, number)
    assert received(body, kept) is body


@pytest.mark.parametrize("before", range(0, 600, 7))
@pytest.mark.parametrize("piece", [1, 5, 7, 8])
def test_a_long_number_is_found_behind_digits_in_a_string(before: int, piece: int) -> None:
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(doubles, "MOST_DECODED_BYTES", 0)
        changed.setattr(doubles, "_PIECE_BYTES", doubles._STEP * piece)
        assert not doubles.all_fit(b'{"t":"%b","x":%be99}' % (b"4" * before, b"7" * 210))


NUMBERS = st.from_regex(rb"-?(0|[1-9][0-9]{0,240})(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,4})?", fullmatch=True)
ODD = st.sampled_from((b"\\\\", b'\\"', b"\\u00e9", b"1e999,", b"-2E400 ", b"7" * 240, b"e"))
STRINGS = st.lists(st.one_of(ODD, NUMBERS), max_size=9).map(lambda parts: b'"%b"' % b"".join(parts))


@given(st.lists(st.one_of(NUMBERS, STRINGS), max_size=20), st.integers(1, 12), st.sampled_from((b",", b" ,\n")))
def test_numbers_are_judged_alike_however_a_body_is_cut(values: list[bytes], steps: int, comma: bytes) -> None:
    numbers_in_it = [value for value in values if not value.startswith(b'"')]
    fits = not any(math.isinf(float(number)) or len(number) > 308 for number in numbers_in_it)
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(doubles, "MOST_DECODED_BYTES", 0)
        changed.setattr(doubles, "_PIECE_BYTES", doubles._STEP * steps)
        assert doubles.all_fit(b"[%b]" % comma.join(values)) is fits
