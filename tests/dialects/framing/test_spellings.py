"""A pinned option holds whatever word an engine would take it by."""

from typing import Any

import msgspec
import pytest

from ollama_proxyd.dialects.anthropic.dialect import Anthropic
from ollama_proxyd.dialects.framing.placing import placed
from ollama_proxyd.dialects.framing.spellings import SPELLINGS
from ollama_proxyd.dialects.ollama.dialect import Ollama
from ollama_proxyd.dialects.openai.dialect import OpenAI
from ollama_proxyd.dialects.openai.infer import Infer
from ollama_proxyd.dialects.openai.responses.dialect import Responses

PLACES = {each.__name__: each.option_places for each in (OpenAI, Ollama, Anthropic, Responses, Infer)}


@pytest.mark.parametrize(
    ("option", "pinned", "others"),
    [
        ("max_tokens", 8, {"max_new_tokens": 9, "max_length": 9, "num_predict": 9, "auto_max_new_tokens": True}),
        (
            "temperature",
            0.25,
            {"temp": 2, "dynatemp_range": 1.5, "samplers": ["top_k"], "mirostat": 2, "preset": "hot"},
        ),
        ("top_k", 1, {"use_beam_search": True, "sampler_order": [6], "mirostat_mode": 2, "Samplers": "p"}),
        ("seed", 7, {"random_seed": 1, "sampler_seed": 1}),
        ("n", 1, {"n_cmpl": 9}),
        ("model", "small:1b", {"lora": [{"id": 0}], "adapters": "/there", "models": ["large:70b"]}),
        ("repeat_penalty", 1.5, {"rep_pen": 1, "sampling_params": {"repetition_penalty": 1}}),
        ("temperature", 0.25, {"extra_body": {"temperature": 2}, "generation_config": '{"temperature": 2}'}),
    ],
)
def test_a_pinned_option_is_had_by_no_other_word(option: str, pinned: Any, others: dict[str, Any]) -> None:
    asked = {"model": "large:70b", "user": "me", **others}
    places = OpenAI.option_places
    told = msgspec.json.decode(placed(msgspec.json.encode(asked), places, {option: pinned}, {}))
    assert told == {"model": "large:70b", "user": "me", places[option][0]: pinned}


def test_a_section_of_the_api_keeps_what_else_it_holds() -> None:
    asked = {"options": {"mirostat": 2, "temp": 2, "num_gpu": 1}, "samplers": ["top_k"]}
    told = msgspec.json.decode(placed(msgspec.json.encode(asked), Ollama.option_places, {"temperature": 0.25}, {}))
    assert told == {"options": {"num_gpu": 1, "temperature": 0.25}}


def test_other_words_stay_where_nothing_is_pinned() -> None:
    asked = {"samplers": ["top_k"], "extra_body": {"top_k": 1}, "mirostat": 2}
    told = msgspec.json.decode(placed(msgspec.json.encode(asked), OpenAI.option_places, {}, {"temperature": 0.25}))
    assert told == {**asked, "temperature": 0.25}


@pytest.mark.parametrize("api", PLACES)
def test_no_word_for_one_option_is_the_place_of_another(api: str) -> None:
    for option, others in SPELLINGS.items():
        taken = {key for name, keys in PLACES[api].items() if name != option for key in keys}
        assert not taken & set(others)
