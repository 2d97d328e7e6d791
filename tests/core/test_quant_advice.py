"""Advice about quantisation follows from the model, the device's memory and what was measured here."""

from dataclasses import replace
from typing import Any

import pytest

from ollama_proxyd.core.fleet import BackendView, Hardware, Model, Profile
from ollama_proxyd.core.gguf import facts_of
from ollama_proxyd.core.learning import Speed
from ollama_proxyd.core.quant_advice import GB, TIERS, Advice, Place, Subject, advise, base_of, parameters_in
from ollama_proxyd.core.watts import Watts
from tests.fakes import spec_of

EIGHT = Subject("llama3.1:8b", 8e9, is_counted=True)
FACTS = facts_of(
    {
        "general.architecture": "llama",
        "llama.block_count": 32,
        "llama.context_length": 131072,
        "llama.embedding_length": 4096,
        "llama.feed_forward_length": 14336,
        "llama.attention.head_count": 32,
        "llama.attention.head_count_kv": 8,
    },
    (),
)


def view(*models: Model, speeds: Any = None, watts: Watts | None = None, power_w: float | None = None) -> BackendView:
    spec = replace(spec_of("igpu"), hardware=Hardware.IGPU, profile=Profile(power_w=power_w))
    return BackendView(spec, models=models, speeds=speeds or {}, watts=watts)


def on(free_gb: float | None, subject: Subject = EIGHT, of: BackendView | None = None, **more: Any) -> Advice:
    backend = of or view()
    free = None if free_gb is None else int(free_gb * GB)
    return advise(subject, Place(backend, free, free), [backend], aggressive=more.get("aggressive", False))


@pytest.mark.parametrize(
    ("free_gb", "tag"), [(16, "q8_0"), (8.5, "q6_K"), (6.2, "q5_K_M"), (5.2, "q4_K_M"), (4.3, "q3_K_M"), (3.4, "q2_K")]
)
def test_the_best_quantisation_that_fits_is_recommended(free_gb: float, tag: str) -> None:
    advice = on(free_gb)
    assert advice.recommended is not None
    assert advice.recommended.tier.tag == tag


def test_a_large_model_and_a_small_one_get_different_advice_on_one_device() -> None:
    large, small = on(24, Subject("x:70b", 70e9, is_counted=False)), on(24, Subject("x:1b", 1e9, is_counted=False))
    assert large.recommended is None
    assert small.recommended is not None
    assert small.recommended.tier.tag == "q8_0"


@pytest.mark.parametrize(("free_gb", "tag"), [(16, "q6_K"), (8.5, "q5_K_M"), (3.4, "q2_K")])
def test_aggressive_is_one_tier_lower_and_the_lowest_stays(free_gb: float, tag: str) -> None:
    advice = on(free_gb, aggressive=True)
    assert advice.recommended is not None
    assert advice.recommended.tier.tag == tag


def test_the_context_takes_memory_too() -> None:
    short, long = (on(10, replace(EIGHT, facts=FACTS, context_tokens=tokens)).recommended for tokens in (4096, 32768))
    assert short is not None
    assert long is not None
    assert (short.tier.tag, long.tier.tag) == ("q8_0", "q4_K_M")
    assert (short.cache_bytes or 0) < (long.cache_bytes or 0)


def test_unknown_memory_is_no_reason_to_advise() -> None:
    advice = on(None)
    assert advice.recommended is None
    assert {each.fits for each in advice.options} == {None}


def test_a_file_that_is_there_counts_as_it_is() -> None:
    held = replace(EIGHT, size_bytes=4_920_000_000, quantization="Q4_K_M")
    sizes = {each.tier.tag: each.weights_bytes for each in on(16, held).options}
    assert sizes["q4_K_M"] == 4_920_000_000
    assert sizes["q8_0"] == 8e9 * 8.5008 / 8


def test_speed_is_that_of_the_model_scaled_by_the_bytes_that_a_token_reads() -> None:
    model = Model("llama3.1:8b", size_bytes=4_900_000_000, quantization="Q4_K_M")
    measured = view(model, speeds={"llama3.1:8b": Speed(decode_tps=20.0, samples=5)}, watts=Watts(15.0, 60.0))
    options = {each.tier.tag: each for each in on(16, of=measured).options}
    smaller = options["q2_K"]
    assert (smaller.speed_from, options["q4_K_M"].speed_from) == ("scaled", "scaled")
    assert smaller.tokens_per_second == pytest.approx(20 * 4.9e9 / (8e9 * 3.1593 / 8))
    assert smaller.joules_per_token == pytest.approx(15 / (20 * 4.9e9) * smaller.weights_bytes)
    assert options["q8_0"].tokens_per_second < 20  # type: ignore[operator]


def test_the_speed_of_the_file_that_was_measured_is_told_as_it_is() -> None:
    model = Model("llama3.1:8b", size_bytes=4_900_000_000, quantization="Q4_K_M")
    held = replace(EIGHT, size_bytes=4_900_000_000, quantization="Q4_K_M")
    measured = view(model, speeds={"llama3.1:8b": Speed(decode_tps=20.0, samples=5)})
    options = {each.tier.tag: each for each in on(16, held, measured).options}
    assert (options["q4_K_M"].tokens_per_second, options["q4_K_M"].speed_from) == (20.0, "measured")


def test_another_model_that_was_measured_tells_the_device_and_is_called_an_estimate() -> None:
    other = Model("qwen:7b", size_bytes=4_000_000_000)
    measured = view(other, speeds={"qwen:7b": Speed(decode_tps=25.0, samples=5)}, power_w=12.0)
    option = on(16, of=measured).options[0]
    assert option.tokens_per_second == pytest.approx(25 * 4e9 / option.weights_bytes)
    assert option.speed_from == "estimated"
    assert option.joules_per_token is not None


def test_joules_are_unknown_where_no_watts_are() -> None:
    assert on(16).options[0].joules_per_token is None


def test_models_of_the_same_name_and_size_are_told_by_their_quantisation() -> None:
    held = view(
        Model("llama3.1:8b-instruct-q4_K_M", parameter_size="8.0B", quantization="Q4_K_M"),
        Model("llama3.1:70b-instruct-q4_K_M", parameter_size="70.6B", quantization="Q4_K_M"),
        Model("hf.co/x/Llama3.1-GGUF:Q8_0", parameter_size="8.03B", quantization="Q8_0"),
        Model("qwen:8b", parameter_size="8B", quantization="Q2_K"),
    )
    models = {each.tier.tag: each.models for each in on(16, of=held).options}
    assert models["q4_K_M"] == ("llama3.1:8b-instruct-q4_K_M",)
    assert models["q8_0"] == ("hf.co/x/Llama3.1-GGUF:Q8_0",)
    assert models["q2_K"] == ()


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("llama3.1:8b", 8e9), ("qwen2.5:0.5b-instruct-q4_K_M", 5e8), ("smollm:135m", 135e6), ("mixtral:8x7b", 56e9),
        ("Qwen3-30B-A3B", 30e9), ("llama3.2", None), ("phi3", None), ("b", None), ("9" * 50 + "b", None), ("", None),
    ],
)  # fmt: skip
def test_parameters_are_read_from_a_name_only_where_it_says_them(name: str, parameters: float | None) -> None:
    assert parameters_in(name) == parameters


def test_a_name_without_its_tag_registry_and_quantisation() -> None:
    names = (
        "llama3.2:3b",
        "registry.ollama.ai/library/llama3.2",
        "hf.co/b/Llama3.2-GGUF:Q4_K_M",
        "llama3.2-Q4_K_M.gguf",
    )
    assert {base_of(name) for name in names} == {"llama3.2"}


def test_the_tiers_go_from_the_best_to_the_smallest() -> None:
    assert [each.bits for each in TIERS] == sorted((each.bits for each in TIERS), reverse=True)
