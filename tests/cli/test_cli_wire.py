"""D-Bus bytes: what we write the library reads, and what it writes we read."""

import math
import struct
from contextlib import suppress
from typing import Any

import dbus_fast
import pytest
from dbus_fast._private.unmarshaller import Unmarshaller
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxyd.cli.bus import Target, _call
from ollama_proxyd.cli.wire import Reader, Variant, Writer, complete_types

INTEGERS = {"y": (8, False), "n": (16, True), "q": (16, False), "i": (32, True), "u": (32, False)} | {
    "x": (64, True),
    "t": (64, False),
}
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
PLAIN: dict[str, Any] = {
    code: st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else st.integers(0, 2**bits - 1)
    for code, (bits, signed) in INTEGERS.items()
} | {"b": st.booleans(), "d": st.floats(allow_nan=False), "s": TEXT, "o": st.just("/a/b"), "g": st.just("a{sv}")}


def typed(deep: int = 2) -> st.SearchStrategy[tuple[str, Any]]:
    """A type and a value of it, arrays, dictionaries, structs and variants among them."""
    plain = st.sampled_from(sorted(PLAIN)).flatmap(lambda code: PLAIN[code].map(lambda value: (code, value)))
    if deep == 0:
        return plain
    inner = typed(deep - 1)
    array = inner.map(lambda pair: (f"a{pair[0]}", [pair[1], pair[1]]))
    table = st.tuples(TEXT, inner).map(lambda pair: (f"a{{s{pair[1][0]}}}", {pair[0]: pair[1][1]}))
    both = st.tuples(inner, inner).map(lambda pair: (f"({pair[0][0]}{pair[1][0]})", (pair[0][1], pair[1][1])))
    variant = inner.map(lambda pair: ("v", Variant(*pair)))
    return st.one_of(plain, array, table, both, variant)


def for_library(signature: str, value: Any) -> Any:
    """The same value in the library's words."""
    if isinstance(value, Variant):
        return dbus_fast.Variant(value.signature, for_library(value.signature, value.value))
    if signature[0] == "(":
        parts = zip(complete_types(signature[1:-1]), value, strict=True)
        return tuple(for_library(kind, each) for kind, each in parts)
    if isinstance(value, dict):
        return {key: for_library(signature[3:-1], each) for key, each in value.items()}
    if signature == "ay":
        return bytes(value)
    if isinstance(value, list):
        return [for_library(signature[1:], each) for each in value]
    return value


def bare(value: Any) -> Any:
    """A value without variants, as the reader gives it."""
    if isinstance(value, Variant):
        return bare(value.value)
    if isinstance(value, dict):
        return {key: bare(each) for key, each in value.items()}
    return type(value)(map(bare, value)) if isinstance(value, list | tuple) else value


class OneMessage:
    """A stream that holds one message."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, count: int) -> bytes:
        taken, self._data = self._data[:count], self._data[count:]
        return taken


@given(typed())
def test_the_library_reads_what_we_write(pair: tuple[str, Any]) -> None:
    signature, value = pair
    sent = _call(7, Target("a.b", "/c", "d.e"), "Member", signature, [value])
    message = Unmarshaller(OneMessage(sent)).unmarshall()
    assert message is not None
    assert (message.destination, message.path, message.interface, message.member) == ("a.b", "/c", "d.e", "Member")
    assert (message.serial, message.signature) == (7, signature)
    assert message.flags is dbus_fast.MessageFlag.NO_AUTOSTART
    assert message.body == [for_library(signature, value)]


@given(typed())
def test_we_read_what_the_library_writes(pair: tuple[str, Any]) -> None:
    signature, value = pair
    body = [for_library(signature, value)]
    message = dbus_fast.Message(
        message_type=dbus_fast.MessageType.SIGNAL,
        path="/a",
        interface="b.c",
        member="D",
        signature=signature,
        body=body,
    )
    data = bytes(message._marshall(False))
    (length,) = struct.unpack_from("<I", data, 4)
    assert Reader(data[len(data) - length :]).read(signature) == (bare(value),)


@given(st.binary(max_size=60), st.sampled_from(["s", "as", "a{sv}", "(ib)", "v", "aay", "yyyyuua(yv)"]))
def test_any_bytes_are_values_or_a_value_error(data: bytes, signature: str) -> None:
    with suppress(ValueError):
        Reader(data).read(signature)


def test_big_endian_is_understood() -> None:
    assert Reader(b"\0\0\0\7\0\0\0\1", ">").read("ib") == (7, True)


def test_not_a_number_arrives() -> None:
    writer = Writer()
    writer.write("d", [math.nan])
    assert math.isnan(Reader(bytes(writer.data)).read("d")[0])


def test_a_signature_falls_into_its_types() -> None:
    assert list(complete_types("sa{sv}(i(as))aay")) == ["s", "a{sv}", "(i(as))", "aay"]


def test_values_must_match_their_signature() -> None:
    with pytest.raises(ValueError, match="zip"):
        Writer().write("ss", ["one"])


def test_variants_nested_too_deep_are_refused() -> None:
    with pytest.raises(ValueError, match="levels deep"):
        Reader(b"\1v\0" * 100).read("v")


def test_a_text_that_is_cut_off_is_refused() -> None:
    with pytest.raises(ValueError, match="ends within a text"):
        Reader(b"\x09\0\0\0ab\0").read("s")
