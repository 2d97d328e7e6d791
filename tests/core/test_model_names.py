"""When two model names mean the same model."""

import pytest

from ollama_proxyd.core.model_names import canonical, resolve


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("llama3", "llama3:latest"),
        ("Llama3:8B", "llama3:8b"),
        ("hf.co/org/Model-GGUF", "hf.co/org/model-gguf:latest"),
        ("localhost:5000/org/model", "localhost:5000/org/model:latest"),
        (" tiny ", "tiny:latest"),
        ("library/tiny", "tiny:latest"),
        ("Registry.Ollama.ai/Library/Tiny:1B", "tiny:1b"),
        ("registry.ollama.ai/org/model", "org/model:latest"),
        ("hf.co/library/tiny", "hf.co/library/tiny:latest"),
    ],
)
def test_a_canonical_name_is_in_lower_case_with_its_tag(name: str, full: str) -> None:
    assert canonical(name) == full


@pytest.mark.parametrize(
    ("asked", "held", "found"),
    [
        ("tiny", ["tiny:latest"], "tiny:latest"),
        ("tiny:latest", ["tiny"], "tiny"),
        ("TINY", ["Tiny:Latest"], "Tiny:Latest"),
        ("tiny", ["TINY", "tiny"], "tiny"),
        ("tiny:1b", ["tiny", "tiny:latest"], None),
        ("tiny", ["tiny:1b", "tiny-2"], None),
        ("tiny", [], None),
        ("library/tiny", ["tiny:latest"], "tiny:latest"),
        ("registry.ollama.ai/library/tiny", ["Tiny"], "Tiny"),
        ("library/tiny", ["tiny", "library/tiny"], "library/tiny"),
        ("tiny:local", ["tiny:latest"], "tiny:latest"),
        ("tiny:local", ["tiny", "tiny:local"], "tiny:local"),
        ("tiny:1b:local", ["tiny:1b"], "tiny:1b"),
    ],
)
def test_a_backends_own_name_is_found_an_exact_match_first(asked: str, held: list[str], found: str | None) -> None:
    assert resolve(asked, held) == found
