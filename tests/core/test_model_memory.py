"""What a model takes in memory follows from its facts, and unknown facts are told as unknown."""

from typing import Any

import pytest

from ollama_proxyd.core.gguf import Experts, GgufFacts, Recurrence, Tensor, facts_of
from ollama_proxyd.core.model_memory import Serving, estimate

METADATA: dict[str, object] = {
    "general.architecture": "llama",
    "general.file_type": 15,
    "llama.block_count": 32,
    "llama.context_length": 131072,
    "llama.embedding_length": 4096,
    "llama.feed_forward_length": 14336,
    "llama.attention.head_count": 32,
    "llama.attention.head_count_kv": 8,
    "llama.vocab_size": 128256,
}
"""Llama 3.1 8B."""
TENSORS = (Tensor("token_embd.weight", "Q4_K", 525_336_576, 295_501_824), Tensor("output.weight", "Q6_K", 10, 10))
MIB = 2**20


def facts(**more: object) -> GgufFacts:
    return facts_of({**METADATA, **{f"llama.{key.replace('__', '.')}": value for key, value in more.items()}}, TENSORS)


def cache_mib(known: GgufFacts, **serving: Any) -> float:
    memory = estimate(known, Serving(**serving))
    assert memory is not None
    return memory.cache_bytes / MIB


def test_the_cache_is_two_numbers_for_each_token_layer_and_head() -> None:
    assert cache_mib(facts(), context_tokens=8192) == 1024
    assert cache_mib(facts(), context_tokens=8192, key_type="q8_0", value_type="q8_0") == 544
    assert cache_mib(facts(attention__head_count_kv=32), context_tokens=8192) == 4096


def test_slots_share_the_context_or_have_each_its_own() -> None:
    assert cache_mib(facts(), context_tokens=8192, slots=4) == 1024
    assert cache_mib(facts(), context_tokens=8192, slots=3) == pytest.approx(1024 * 3 * 2816 / 8192)
    assert cache_mib(facts(), context_tokens=8192, slots=3, is_unified=True) == 1024


def test_a_sliding_window_bounds_the_cache_of_its_layers() -> None:
    windowed = facts(attention__sliding_window=1024, attention__sliding_window_pattern=4)
    assert cache_mib(windowed, context_tokens=32768) == 8 * 128 + 24 * 6
    said = facts(attention__sliding_window=1024, attention__sliding_window_pattern=[True, False] * 16)
    assert cache_mib(said, context_tokens=32768) == 16 * 128 + 16 * 6
    unknown = facts(attention__sliding_window=1024)
    assert cache_mib(unknown, context_tokens=32768) == 32 * 128, "what is not known is not taken for little"


def test_recurrent_layers_keep_a_state_of_fixed_size() -> None:
    hybrid = facts(
        full_attention_interval=4, ssm__inner_size=4096, ssm__state_size=128, ssm__group_count=16, ssm__conv_kernel=4
    )
    assert hybrid.recurrence == Recurrence(24, 3 * (4096 + 2 * 16 * 128) + 128 * 4096)
    state_mib = 24 * hybrid.recurrence.numbers * 4 / MIB
    assert cache_mib(hybrid, context_tokens=8192) == pytest.approx(256 + state_mib, abs=1e-5)
    assert cache_mib(hybrid, context_tokens=8192, slots=4) == pytest.approx(256 + 4 * state_mib, abs=1e-5)


def test_experts_are_told_and_the_widest_layer_is_what_one_token_uses() -> None:
    mixed = facts(expert_count=128, expert_used_count=8, expert_feed_forward_length=768, feed_forward_length=None)
    assert mixed.experts == Experts(128, 8)
    assert mixed.feed_forward_length == 6144


def test_scores_of_each_head_are_kept_without_flash_attention() -> None:
    quick, slow = (estimate(facts(), Serving(context_tokens=8192, flash_attention=each)) for each in (True, False))
    assert quick is not None
    assert slow is not None
    assert slow.compute_bytes - quick.compute_bytes == 512 * 8192 * (4 * 33 - 2)


@pytest.mark.parametrize("key", ["block_count", "embedding_length", "attention.head_count"])
@pytest.mark.parametrize("value", [None, "many", 0, -1, 2**80, [], [8], 1.5])
def test_where_a_fact_is_missing_or_odd_there_is_no_estimate(key: str, value: object) -> None:
    known = facts_of({**METADATA, f"llama.{key}": value}, TENSORS)
    if (key, value) != ("attention.head_count", 0):  # a model without attention, which there is
        assert estimate(known) is None


def test_what_says_not_what_it_is_has_no_facts() -> None:
    with pytest.raises(ValueError, match=r"general\.architecture"):
        facts_of({}, TENSORS)


def test_the_type_of_most_weights_is_told_where_the_mix_is_not() -> None:
    unnamed = facts_of({**METADATA, "general.file_type": 999}, TENSORS)
    assert (facts().quantization, unnamed.quantization) == ("Q4_K_M", "Q4_K")
