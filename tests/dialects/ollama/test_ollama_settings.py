"""Settings are checked as a real Ollama checks them, and named as the core names them."""

import math

import msgspec
import pytest

from ollama_proxyd.core.canonical_options import CANONICAL_OPTIONS
from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.requests import Json, JsonObject, JsonSchema
from ollama_proxyd.dialects.framing.keep_alive import keep_alive_s
from ollama_proxyd.dialects.framing.limits import check_top_logprobs
from ollama_proxyd.dialects.ollama.options import (
    CANONICAL_BY_OPTION,
    OPTION_TYPE,
    answer_limit,
    check_options,
    check_think,
    read_format,
    read_options,
)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        (0, 0.0),
        (30, 30.0),
        (0.5, 0.5),
        (-1, math.inf),
        ("0", 0.0),
        ("5m", 300.0),
        ("1h30m", 5400.0),
        ("1.5h", 5400.0),
        ("+2s", 2.0),
        ("100ms", 0.1),
        ("-1m", math.inf),
    ],
)
def test_keep_alive_takes_seconds_and_durations(value: Json, seconds: float | None) -> None:
    assert keep_alive_s(value) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("soon", 'time: invalid duration "soon"'),
        ("", 'time: invalid duration ""'),
        ("-", 'time: invalid duration "-"'),
        ("-1", 'time: missing unit in duration "-1"'),
        ("5", 'time: missing unit in duration "5"'),
        ("5d", 'time: unknown unit "d" in duration "5d"'),
        ("9999999999h", 'time: invalid duration "9999999999h"'),
        (True, 'keep_alive must be seconds or a duration such as "5m", not true'),
    ],
)
def test_any_other_keep_alive_is_refused(value: Json, message: str) -> None:
    with pytest.raises(ProxyError) as caught:
        keep_alive_s(value)
    assert (caught.value.kind, caught.value.message) == (ErrorKind.INVALID_REQUEST, message)


@pytest.mark.parametrize("value", [None, True, False, "low", "medium", "high", "max"])
def test_think_is_a_switch_or_an_effort(value: Json) -> None:
    assert check_think(value) is value


@pytest.mark.parametrize("value", ["huge", "", 1, 0, ["low"], {}])
def test_any_other_think_is_refused(value: Json) -> None:
    with pytest.raises(ProxyError, match="invalid think value"):
        check_think(value)


@pytest.mark.parametrize("value", [None, 0, 20])
def test_up_to_twenty_likeliest_tokens_can_be_asked_for(value: int | None) -> None:
    check_top_logprobs(value)


@pytest.mark.parametrize("value", [-1, 21])
def test_more_or_fewer_likeliest_tokens_are_refused(value: int) -> None:
    with pytest.raises(ProxyError, match="between 0 and 20"):
        check_top_logprobs(value)


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("temperature", "hot", "float32"),
        ("temperature", True, "float32"),
        ("num_predict", "3", "integer"),
        ("use_mmap", 1, "boolean"),
        ("stop", "x", "array"),
        ("stop", [1], "array of strings"),
    ],
)
def test_an_option_of_the_wrong_type_is_refused_with_the_code_that_makes_it_a_500(
    name: str, value: Json, wanted: str
) -> None:
    with pytest.raises(ProxyError) as caught:
        check_options({name: value})
    assert caught.value.message == f'option "{name}" must be of type {wanted}'
    assert caught.value.code == OPTION_TYPE


def test_unknown_options_and_nulls_pass() -> None:
    check_options({"nope": "x", "temperature": None, "top_k": 1.0})
    check_options(None)


def test_ollama_option_names_mean_canonical_ones() -> None:
    assert set(CANONICAL_BY_OPTION.values()) <= set(CANONICAL_OPTIONS)
    assert CANONICAL_BY_OPTION["num_predict"] == "max_tokens"


def read(options: dict[str, Json] | None, **fields: Json) -> tuple[dict[str, Json], dict[str, Json]]:
    raw = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in fields.items()}
    found = read_options(options, raw, read={"model", "keep_alive"})
    return dict(found.known), dict(found.unknown)


def test_zero_false_and_null_stay_distinct_from_absent() -> None:
    known, _ = read({"temperature": 0, "seed": None, "stop": []}, keep_alive=0)
    assert known == {"temperature": 0, "seed": None, "stop": [], "keep_alive": 0}
    assert read(None) == ({}, {})
    assert read(None, keep_alive=None) == ({"keep_alive": None}, {})


def test_a_negative_limit_is_no_limit_and_zero_is_one() -> None:
    assert read({"num_predict": -1}) == ({}, {})
    assert read({"num_predict": 0}) == ({"max_tokens": 0}, {})
    assert answer_limit({"num_predict": -1}) is None
    assert answer_limit({"num_predict": 0}) == 0
    assert answer_limit({"num_predict": 7.0}) == 7


def test_whole_numbers_written_with_a_fraction_are_cut_as_ollama_cuts_them() -> None:
    assert read({"top_k": 2.9, "temperature": 2.9})[0] == {"top_k": 2, "temperature": 2.9}


def test_an_option_is_known_by_the_name_and_place_that_the_client_gave_it() -> None:
    raw = {"keep_alive": msgspec.Raw(b"1")}
    found = read_options({"num_predict": 3, "top_k": 1}, raw, read={"keep_alive"})
    names = {name: found.name_of(name) for name in found.known}
    assert names == {"max_tokens": "options.num_predict", "top_k": "options.top_k", "keep_alive": "keep_alive"}


def test_an_unknown_option_is_never_taken_for_a_field_of_the_same_name() -> None:
    _, unknown = read({"messages": "x"}, messages=1, future=None)
    assert unknown == {"messages": 1, "future": None, "options.messages": "x"}


@pytest.mark.parametrize(
    ("value", "wanted"),
    [(None, None), ("", None), ("json", JsonObject()), ({"type": "object"}, JsonSchema({"type": "object"}))],
)
def test_format_is_json_or_a_schema(value: Json, wanted: object) -> None:
    assert read_format(value) == wanted


@pytest.mark.parametrize("value", ["xml", 5, ["json"]])
def test_any_other_format_is_refused(value: Json) -> None:
    with pytest.raises(ProxyError, match="invalid format"):
        read_format(value)
