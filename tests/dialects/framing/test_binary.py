"""Pictures and sounds in base64: what is taken as such, in however many steps it is decoded."""

import binascii

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.dialects.framing import binary


def is_taken(data: str) -> bool:
    try:
        binary.checked_base64(data, "image")
    except ProxyError:
        return False
    return True


def test_a_refusal_names_the_field() -> None:
    with pytest.raises(ProxyError) as refused:
        binary.checked_base64("*", "image")
    assert (refused.value.kind, refused.value.param) == (ErrorKind.INVALID_REQUEST, "image")


def is_base64(data: str) -> bool:
    try:
        return bool(binascii.a2b_base64(data, strict_mode=True)) and len(data) % 4 == 0 and not data.endswith("===")
    except ValueError:
        return False


@example("AAAA=====")
@example("AAAA====")
@example("AAAA=")
@given(st.text("AQg/+=*", max_size=24) | st.binary(max_size=24).map(lambda raw: binascii.b2a_base64(raw).decode()[:-1]))
def test_pieces_are_taken_where_the_whole_is(data: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(binary, "PIECE", 8)
        assert is_taken(data) is is_base64(data)


def test_padding_ends_the_whole_and_no_piece_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binary, "PIECE", 4)
    assert is_taken("QQ==")
    assert not is_taken("QQ==QQ==")


@pytest.mark.parametrize("broken", ["QUJD\nREVG", "QUJD\r\nREVG\r\n", "QU\rJDREVG"])
def test_line_ends_are_left_out(broken: str) -> None:
    assert binary.checked_base64(broken, "image") == "QUJDREVG"


def test_only_line_ends_are_no_base64() -> None:
    assert not is_taken("\r\n")
