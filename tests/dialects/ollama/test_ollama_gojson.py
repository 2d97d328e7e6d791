"""Broken JSON is explained in the words of Ollama's own parser."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxyd.dialects.ollama.gojson import explain


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "unexpected EOF"),
        ('{"a":', "unexpected EOF"),
        ('{"a', "unexpected EOF"),
        ("[1,", "unexpected EOF"),
        ("tru", "unexpected EOF"),
        ("-", "unexpected EOF"),
        ("nope", "invalid character 'o' in literal null (expecting 'u')"),
        ("trUe", "invalid character 'U' in literal true (expecting 'u')"),
        ("hello", "invalid character 'h' looking for beginning of value"),
        ("{a:1}", "invalid character 'a' looking for beginning of object key string"),
        ('{"a":1,}', "invalid character '}' looking for beginning of object key string"),
        ('{"a" 1}', "invalid character '1' after object key"),
        ('{"a":1 "b":2}', "invalid character '\"' after object key:value pair"),
        ("[1 2]", "invalid character '2' after array element"),
        ("[1,]", "invalid character ']' looking for beginning of value"),
        ("{} x", "invalid character 'x' after top-level value"),
        ("01", "invalid character '1' after top-level value"),
        ("-x", "invalid character 'x' in numeric literal"),
        ("1.x", "invalid character 'x' after decimal point in numeric literal"),
        ("1e+x", "invalid character 'x' in exponent of numeric literal"),
        ('"a\nb"', "invalid character '\\n' in string literal"),
        ('"\\q"', "invalid character 'q' in string escape code"),
        ('"\\u12x4"', "invalid character 'x' in \\u hexadecimal character escape"),
        ("'a'", "invalid character '\\'' looking for beginning of value"),
    ],
)
def test_it_says_which_character_is_wrong_and_what_was_expected(text: str, why: str) -> None:
    assert explain(text) == why


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(json_values)
def test_what_is_json_needs_no_explanation(value: object) -> None:
    assert explain(msgspec.json.format(msgspec.json.encode(value)).decode()) is None


@given(json_values, st.data())
def test_json_that_is_cut_short_ends_unexpectedly(value: object, data: st.DataObject) -> None:
    text = msgspec.json.encode([value]).decode()
    assert explain(text[: data.draw(st.integers(1, len(text) - 1))]) == "unexpected EOF"


@given(st.text(alphabet='{}[]",:.-+eE01tfnul\\/ a', max_size=25))
def test_it_explains_exactly_what_the_decoder_refuses(text: str) -> None:
    try:
        msgspec.json.decode(text)
        refused = False
    except msgspec.ValidationError:
        return  # a number out of range is well formed
    except msgspec.DecodeError:
        refused = True
    assert (explain(text) is not None) is refused
