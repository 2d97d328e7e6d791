"""The guide to a new engine shows files that are there."""

import inspect

from ollama_proxyd.edges.backends.engines import transformers
from tests.docs.page import DOCS
from tests.upstreams import engines

GUIDE = (DOCS / "adding-an-engine.md").read_text(encoding="utf-8")


def test_the_guides_file_is_the_engines_file() -> None:
    assert f"```python\n{inspect.getsource(transformers)}```" in GUIDE


def test_the_guides_fake_is_the_tests_fake() -> None:
    (fake,) = (part.partition("```")[0] for part in GUIDE.split("```python\n") if part.startswith('    "transformers"'))
    assert fake in inspect.getsource(engines)
