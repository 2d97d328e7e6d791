"""A feature flag says what it really does at each backend, and adds to requests only what they leave open."""

from dataclasses import replace
from typing import Any

import pytest

from ollama_proxyd.core.engine_program import EngineProgram, ProgramKind
from ollama_proxyd.core.features import (
    BATCH_SLOTS,
    ENGINES_CONTEXT,
    WORDS,
    EngineWishes,
    Feature,
    FeatureStatus,
    Way,
    as_wished,
    effects,
    ollama_options,
)
from ollama_proxyd.core.fleet import BackendView, Hardware
from ollama_proxyd.core.requests import Api, Chat, Operation, Request
from tests.fakes import spec_of

ALL = EngineWishes(frozenset(Feature), threads=6)


def view(api: Api = Api.OLLAMA, hardware: Hardware = Hardware.CPU, slots: int = 1, **more: Any) -> BackendView:
    return BackendView(replace(spec_of("one"), api=api, hardware=hardware, **more), slots=slots)


LLAMACPP = view(Api.OPENAI, flavor="llamacpp")


def way(feature: Feature, of: BackendView, wishes: EngineWishes = ALL) -> tuple[Way, bool | None]:
    (effect,) = effects(feature, [of], wishes)
    return effect.way, effect.in_force


def request(prompt_tokens: int = 100, max_tokens: int | None = None) -> Request:
    return Request(
        Operation.CHAT, Api.OLLAMA, "chat", "tiny", True, b"{}", lambda: Chat(()),
        prompt_tokens=prompt_tokens, max_tokens=max_tokens,
    )  # fmt: skip


def test_all_ten_have_words_in_porpulsions_order() -> None:
    assert [each.value for each in Feature] == [
        "flash_attn", "mmap_weights", "mlock_weights", "lean_context", "low_vram", "aggressive_quant", "thread_hint",
        "prefix_cache", "batching", "quant_advisor",
    ]  # fmt: skip
    assert set(WORDS) == set(Feature)


@pytest.mark.parametrize("feature", Feature)
@pytest.mark.parametrize(
    "of", [view(), LLAMACPP, view(Api.OPENAI, flavor="vllm"), view(is_local=False), view(hardware=Hardware.NVIDIA)]
)
def test_each_flag_says_something_of_each_engine(feature: Feature, of: BackendView) -> None:
    (effect,) = effects(feature, [of], ALL)
    assert str(effect.reason)
    assert effect.in_force is not True or effect.way in {Way.REQUEST, Way.PROXY, Way.ENGINE}


@pytest.mark.parametrize("feature", [Feature.MMAP_WEIGHTS, Feature.LEAN_CONTEXT, Feature.THREAD_HINT])
def test_what_a_request_can_say_is_in_force_as_soon_as_it_is_on(feature: Feature) -> None:
    assert way(feature, view()) == (Way.REQUEST, True)
    assert way(feature, view(), EngineWishes(threads=6)) == (Way.REQUEST, False)


@pytest.mark.parametrize("feature", [Feature.FLASH_ATTN, Feature.LOW_VRAM, Feature.BATCHING])
def test_what_takes_a_restart_is_never_called_in_force(feature: Feature) -> None:
    assert way(feature, view()) == (Way.RESTART, None)


def test_threads_are_the_processors_and_known() -> None:
    assert way(Feature.THREAD_HINT, view(hardware=Hardware.NVIDIA)) == (Way.NOT_POSSIBLE, False)
    assert way(Feature.THREAD_HINT, view(), EngineWishes(frozenset(Feature))) == (Way.NOT_POSSIBLE, False)


def test_batching_is_in_force_where_an_engine_has_slots() -> None:
    assert way(Feature.BATCHING, view(slots=4), EngineWishes()) == (Way.ENGINE, True)


def test_llama_server_takes_options_only_when_it_starts() -> None:
    assert way(Feature.MLOCK_WEIGHTS, LLAMACPP) == (Way.RESTART, None)
    assert way(Feature.FLASH_ATTN, LLAMACPP) == (Way.ENGINE, None)
    assert way(Feature.PREFIX_CACHE, LLAMACPP) == (Way.PROXY, True)


def test_a_flag_that_does_nothing_anywhere_is_not_enabled() -> None:
    nowhere = FeatureStatus(Feature.MLOCK_WEIGHTS, True, True, effects(Feature.MLOCK_WEIGHTS, [view(), LLAMACPP], ALL))
    assert not nowhere.is_enabled
    by_engine = FeatureStatus(Feature.BATCHING, True, True, effects(Feature.BATCHING, [view(slots=4)], ALL))
    assert not by_engine.is_enabled, "what the engine does anyway is not the flag's doing"
    somewhere = effects(Feature.MMAP_WEIGHTS, [view(is_local=False), view()], ALL)
    assert FeatureStatus(Feature.MMAP_WEIGHTS, True, False, somewhere).is_enabled
    assert not FeatureStatus(Feature.MMAP_WEIGHTS, False, False, somewhere).is_enabled


def options(given: dict[str, Any], asked: Request | None = None, wishes: EngineWishes = ALL) -> dict[str, Any]:
    return ollama_options(wishes, view().spec, asked or request(), given)


def test_only_what_the_client_left_open_is_added() -> None:
    assert options({}) == {"use_mmap": True, "num_thread": 6, "num_ctx": 512}
    assert options({"use_mmap": False, "num_thread": 2, "num_ctx": 256}) == {}
    assert options({}, wishes=EngineWishes()) == {}


@pytest.mark.parametrize(
    ("asked", "needed", "sent"),
    [
        (None, (100, None), 512), (None, (400, None), 1024), (None, (100, 2000), None),
        (None, (5000, None), None), (8192, (100, None), 512), (8192, (3000, 500), 4096), (8192, (9000, None), None),
        (512, (10, None), None), (300, (10, None), None), ("many", (10, None), 512), (-1, (10, None), 512),
        (True, (10, None), 512), (2048.0, (10, None), 512),
    ],
)  # fmt: skip
def test_a_context_is_capped_to_what_is_needed_and_never_raised(
    asked: Any, needed: tuple[int, int | None], sent: int | None
) -> None:
    given = {} if asked is None else {"num_ctx": asked}
    wishes = EngineWishes(frozenset({Feature.LEAN_CONTEXT}))
    assert options(given, request(*needed), wishes).get("num_ctx") == sent


OWN = view(Api.OPENAI, flavor="llamacpp", engine=EngineProgram(environment=("LLAMA_ARG_THREADS=2",)))


@pytest.mark.parametrize("feature", [Feature.FLASH_ATTN, Feature.MLOCK_WEIGHTS, Feature.LOW_VRAM, Feature.THREAD_HINT])
def test_a_llama_server_of_our_own_is_started_anew_for_a_flag(feature: Feature) -> None:
    assert way(feature, OWN) == (Way.RESTART, True)
    assert way(feature, OWN, EngineWishes(threads=6)) == (Way.RESTART, False)
    assert FeatureStatus(feature, True, False, effects(feature, [OWN], ALL)).is_enabled


def test_its_processes_get_variables_over_which_those_that_are_configured_count() -> None:
    engine = as_wished(OWN.spec, ALL).engine
    assert engine is not None
    assert "LLAMA_ARG_FLASH_ATTN=on" in engine.environment
    assert dict(each.split("=", 1) for each in engine.environment)["LLAMA_ARG_THREADS"] == "2"
    assert as_wished(OWN.spec, EngineWishes(threads=6)) is OWN.spec
    assert as_wished(OWN.spec, EngineWishes(frozenset({Feature.PREFIX_CACHE}))) is OWN.spec
    for other in (view().spec, view(engine=EngineProgram(ProgramKind.VLLM)).spec):
        assert as_wished(other, ALL) is other


@pytest.mark.parametrize("feature", [Feature.BATCHING, Feature.LEAN_CONTEXT])
def test_slots_and_context_of_a_llama_server_of_our_own_are_set_unless_they_are_configured(feature: Feature) -> None:
    wishes = EngineWishes(frozenset({feature}))
    assert way(feature, OWN, wishes) == (Way.RESTART, True)
    assert way(feature, OWN, EngineWishes()) == (Way.RESTART, False)
    wished = as_wished(OWN.spec, wishes)
    assert wished.engine is not None
    expected = (BATCH_SLOTS, 8192) if feature is Feature.BATCHING else (None, ENGINES_CONTEXT)
    assert (wished.slots, wished.engine.context_tokens) == expected
    small = view(Api.OPENAI, flavor="llamacpp", engine=EngineProgram(context_tokens=2048))
    small = replace(small, spec=replace(small.spec, slots=2))
    assert way(feature, small, wishes) == (Way.NOT_POSSIBLE, False)
    assert as_wished(small.spec, wishes) is small.spec
    bare = view(Api.OPENAI, flavor="llamacpp", engine=EngineProgram(command=("llama-server", "{model}", "{port}")))
    assert as_wished(bare.spec, wishes) is bare.spec
    (effect,) = effects(feature, [bare], wishes)
    assert (effect.way, effect.in_force) == (Way.NOT_POSSIBLE, False)
    assert "configured command" in str(effect.reason)
