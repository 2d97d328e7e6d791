"""Request bodies are decoded strictly, and renamed without touching anything else."""

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.requests import Chat, Hints, Text
from ollama_proxyd.dialects.framing.jsonbody import decode_fields, decode_object, decode_typed, with_model
from ollama_proxyd.dialects.openai.parse import parse_chat

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
BODIES = st.dictionaries(st.text(), JSON, max_size=6)


def rename_model(body: bytes, name: str) -> bytes:
    return with_model(body, decode_fields(body), name)


class Turn(msgspec.Struct):
    role: str


class Body(msgspec.Struct):
    model: str
    messages: list[Turn]


@given(BODIES, st.text(), st.text())
def test_renaming_the_model_leaves_every_other_field_and_their_order_alone(
    fields: dict[str, object], old: str, new: str
) -> None:
    body = msgspec.json.encode({**fields, "model": old})
    renamed = rename_model(body, new)
    assert list(decode_fields(renamed)) == list(decode_fields(body))
    before, after = decode_fields(body), decode_fields(renamed)
    assert {key: bytes(raw) for key, raw in before.items() if key != "model"} == {
        key: bytes(raw) for key, raw in after.items() if key != "model"
    }
    assert decode_object(renamed)["model"] == new


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"x"}',
        b' {\n "a": 1.50,\t"model" :  "x" , "n":1e3 }\n',
        b'{"text":"say \\"model\\": \\"x\\"","role":"model","model": "x", "e":"\\u00e9"}',
        b'{ "model": null}',
        b'{ "model":7,"x":[ ]}',
    ],
)
def test_every_byte_but_the_name_survives(body: bytes) -> None:
    renamed = rename_model(body, 'n"ew')
    before, after = re.split(rb'(?<=[{,\s])"model"\s*:\s*(?:"x"|null|7)', body)
    assert renamed.startswith(before)
    assert renamed.endswith(after)
    assert decode_object(renamed) == decode_object(body) | {"model": 'n"ew'}


@pytest.mark.parametrize(
    ("body", "renamed"),
    [
        (
            b'{"a": 1.50, "model":"x", "m": {"model" : "x"},"e":"\\u00e9", "n":1e3}',
            b'{"a":1.50,"model":"y","m":{"model" : "x"},"e":"\\u00e9","n":1e3}',
        ),
        (b'{"m": {"model":"x"}, "\\u006dodel": "x"}', b'{"m":{"model":"x"},"model":"y"}'),
        (b'{"mode\\u006C": "x", "m": {"model":"x"}}', b'{"model":"y","m":{"model":"x"}}'),
        (b'{"model":"a", "model":"x"}', b'{"model":"y"}'),
        (b'{"x\\"model": "x", "\\u006dodel":"x"}', b'{"x\\"model":"x","model":"y"}'),
    ],
)
def test_where_the_name_cannot_be_found_for_certain_only_the_space_between_tokens_is_lost(
    body: bytes, renamed: bytes
) -> None:
    assert rename_model(body, "y") == renamed


def test_a_body_that_has_the_name_already_stays_the_same_object() -> None:
    body = b'{ "model" : "x" }'
    assert rename_model(body, "x") is body


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "missing request body"),
        (b'{"model":', "the body is not valid JSON: Input data was truncated"),
        (b"nope", "the body is not valid JSON: invalid character (byte 4)"),
        (b'{"model":"x"} x', "the body is not valid JSON: trailing characters (byte 15)"),
        (b"[1]", "invalid value for 'the request body': expected an object, got an array"),
    ],
)
def test_a_body_that_is_no_json_object_is_an_invalid_request(body: bytes, message: str) -> None:
    with pytest.raises(ProxyError) as caught:
        decode_object(body)
    assert caught.value.kind is ErrorKind.INVALID_REQUEST
    assert caught.value.message == message


def test_json_nested_without_end_is_an_invalid_request() -> None:
    with pytest.raises(ProxyError) as caught:
        decode_object(b'{"a":' + b"[" * 100_000)
    assert caught.value.kind is ErrorKind.INVALID_REQUEST


@pytest.mark.parametrize(
    ("body", "param", "message"),
    [
        (b'{"model":1,"messages":[]}', "model", "invalid value for 'model': expected a string, got an integer"),
        (b'{"model":"x","messages":[{"role":2}]}', "messages[0].role", "expected a string, got an integer"),
        (b'{"model":"x"}', "messages", "messages is required"),
        (b'{"model":"x","messages":[{}]}', "messages[0].role", "messages[0].role is required"),
    ],
)
def test_a_wrong_field_is_named_with_its_path(body: bytes, param: str, message: str) -> None:
    with pytest.raises(ProxyError) as caught:
        decode_typed(msgspec.json.Decoder(Body), body)
    assert caught.value.param == param
    assert message in caught.value.message


def test_a_name_that_is_not_utf8_is_replaced_like_any_other() -> None:
    assert rename_model(b'{"model":"\xff","x":1}', "tiny") == b'{"model":"tiny","x":1}'


def test_a_model_that_is_named_twice_is_named_once_in_the_end() -> None:
    assert rename_model(b'{"model":"a", "x":1,"model":"tiny"}', "tiny") == b'{"model":"tiny","x":1}'


@pytest.mark.parametrize("number", ["100.0", "1e2", "1E+2"])
def test_a_whole_number_may_be_written_with_a_fraction_of_nothing(number: str) -> None:
    for field in ("max_tokens", "seed", "top_k"):
        body = f'{{"model":"m","messages":[{{"role":"user","content":"a"}}],"{field}":{number}}}'.encode()
        parse_chat(body, Hints()).content()
    for odd in ("100.5", "1e300"):
        body = b'{"model":"m","messages":[],"max_tokens":%s}' % odd.encode()
        with pytest.raises(ProxyError, match="expected an integer or null, got a number"):
            parse_chat(body, Hints()).content()


def test_text_in_a_chat_may_go_by_the_words_of_the_responses_api() -> None:
    parts = b'[{"type":"input_text","text":"a"},{"type":"output_text","text":"b"}]'
    content = parse_chat(b'{"model":"m","messages":[{"role":"user","content":%s}]}' % parts, Hints()).content()
    assert isinstance(content, Chat)
    assert content.messages[0].parts == (Text("a"), Text("b"))
