"""What a folder's config.json says of its model, and what follows for the memory that its engine is to reserve."""

from typing import Any

import pytest

from ollama_proxyd.core.engine_files import BLOCKS_BYTES, UNKNOWN_CACHE_BYTES, ModelFile
from ollama_proxyd.core.fleet import Model
from ollama_proxyd.core.folder_facts import facts_of_config

QWEN: dict[str, Any] = {
    "model_type": "qwen2",
    "num_hidden_layers": 24,
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32768,
    "vocab_size": 151936,
    "torch_dtype": "bfloat16",
}
"""Of Qwen2.5-0.5B-Instruct, without what is not read."""


def file_of(config: dict[str, Any]) -> ModelFile:
    return ModelFile(Model("m", 10**9), "/models/m", facts_of_config(config, 10**9))


def test_a_config_says_what_a_gguf_file_would() -> None:
    facts = facts_of_config(QWEN, 988_097_824)
    assert facts is not None
    assert (facts.architecture, facts.context_length, facts.embedding_length) == ("qwen2", 32768, 896)
    assert (facts.size_bytes, facts.quantization, len(facts.layers)) == (988_097_824, "bfloat16", 24)
    assert {(each.keys, each.values) for each in facts.layers} == {(128, 128)}


def test_the_width_of_a_head_may_be_said_and_the_model_of_words_be_within_another() -> None:
    facts = facts_of_config({"model_type": "both", "text_config": {**QWEN, "head_dim": 128}}, 1)
    assert facts is not None
    assert (facts.architecture, facts.layers[0].keys) == ("qwen2", 256)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"quantization": {"group_size": 64, "bits": 4}}, "Q4"),
        ({"quantization_config": {"quant_method": "awq", "bits": 4}}, "awq4"),
        ({"quantization_config": {"quant_method": "fp8"}}, "fp8"),
        ({"dtype": "float16"}, "float16"),
        ({"torch_dtype": 7}, None),
    ],
)
def test_how_its_weights_are_written_is_told(more: dict[str, Any], told: str | None) -> None:
    facts = facts_of_config({**QWEN, **more}, 1)
    assert facts is not None
    assert facts.quantization == told


@pytest.mark.parametrize("config", [{}, {"model_type": 3}, {"model_type": ""}])
def test_a_config_that_says_no_kind_says_nothing(config: dict[str, Any]) -> None:
    assert facts_of_config(config, 1) is None


@pytest.mark.parametrize("wrong", ["many", -1, 10**30, None, [2], {"a": 1}])
def test_a_number_that_is_none_leaves_the_size_of_the_cache_unknown(wrong: object) -> None:
    file = file_of({**QWEN, "num_hidden_layers": wrong})
    assert file.reserved_bytes(8192, 4) == UNKNOWN_CACHE_BYTES


def test_an_engine_reserves_what_the_keys_and_values_of_its_context_take_and_somewhat_more() -> None:
    of_one_token = 24 * 2 * 128 * 2
    reserved = file_of(QWEN).reserved_bytes(8192, 4) - BLOCKS_BYTES
    assert 8192 * of_one_token <= reserved <= 1.1 * 8192 * of_one_token
