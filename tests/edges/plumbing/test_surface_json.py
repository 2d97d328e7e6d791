"""JSON of the surfaces, as a terminal shows it."""

import json

import pytest

from ollama_proxyd.edges.plumbing.surface_json import surface_json


@pytest.mark.parametrize("odd", ["\x7f", "\x85", "\x9b31m", "\u200f", "\u202e", "\u2028", "\U000e0001"])
def test_a_character_that_a_terminal_obeys_is_escaped_and_means_the_same(odd: str) -> None:
    value = {f"größe{odd}": [f"a{odd}ü", {"b": odd}]}
    told = surface_json(value).decode()
    assert told.isprintable()
    assert json.loads(told) == value


def test_words_of_any_language_stay_as_they_are() -> None:
    assert surface_json({"a": "größer 模型"}) == '{"a":"größer 模型"}'.encode()
