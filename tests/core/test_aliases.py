"""One model under several names."""

from dataclasses import replace

from ollama_proxyd.core.fleet import Model
from ollama_proxyd.core.model_names import Synonyms
from tests.core.reference_profile import ask, backend

ALIASES = {"gpt-oss-20b": ("gpt-oss:20b", "gpt-oss-20b.Q4.gguf"), "small": ("tiny",)}


def test_every_name_of_a_model_leads_to_all_the_others() -> None:
    synonyms = Synonyms(ALIASES)
    assert synonyms.of("gpt-oss-20b") == ("gpt-oss:20b", "gpt-oss-20b.Q4.gguf")
    assert synonyms.of("GPT-OSS:20b") == ("gpt-oss-20b", "gpt-oss:20b", "gpt-oss-20b.Q4.gguf")
    assert synonyms.of("tiny:latest") == ("small", "tiny")
    assert synonyms.of("another") == Synonyms().of("gpt-oss:20b") == ()


def test_clients_see_the_alias() -> None:
    synonyms = Synonyms(ALIASES)
    assert synonyms.alias_of("gpt-oss-20b.q4.gguf") == "gpt-oss-20b"
    assert synonyms.alias_of("another") == Synonyms().alias_of("another") == "another"


def test_backends_that_name_a_model_differently_compete_for_it() -> None:
    here = replace(backend("igpu"), models=(Model("gpt-oss-20b.Q4.gguf"),))
    there = replace(backend("nvidia"), models=(Model("gpt-oss:20b"), Model("another")))
    for asked in ("gpt-oss-20b", "gpt-oss:20b", "gpt-oss-20b.Q4.gguf"):
        decision = ask((here, there), model=asked, synonyms=Synonyms(ALIASES).of(asked))
        assert {each.backend_id: each.model for each in decision.ranked} == {
            "igpu": "gpt-oss-20b.Q4.gguf",
            "nvidia": "gpt-oss:20b",
        }


def test_the_name_that_was_asked_for_comes_first() -> None:
    both = replace(backend("igpu"), models=(Model("gpt-oss:20b"), Model("gpt-oss-20b.Q4.gguf")))
    asked = "gpt-oss-20b.Q4.gguf"
    assert ask((both,), model=asked, synonyms=Synonyms(ALIASES).of(asked)).ranked[0].model == asked
