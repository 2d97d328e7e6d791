"""The pages have words for each reason in each language, with the values that its English sentence has."""

import re
import shutil

import pytest

from ollama_proxyd.core.sentences import SENTENCES
from tests.edges.http_api.test_http_page_scripts import run

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
QUOTING = {code for code, sentence in SENTENCES.items() if sentence == "{detail}"}
"""Reasons that only repeat what another program said."""
_FIELD = re.compile(r"\{(\w+)(?::([^}]*))?\}")
_OPTIONAL = re.compile(r"\[[^\]]*\]")


def needed(template: str) -> set[str]:
    """The values without which there is no sentence."""
    return {name for name, _ in _FIELD.findall(_OPTIONAL.sub("", template))}


@pytest.mark.parametrize("language", ["de", "fr"])
def test_each_reason_has_its_words_and_they_need_and_show_what_the_sentence_does(language: str) -> None:
    table = run(f"reasons.{language}.js", "it.default")
    assert set(table) == set(SENTENCES) - QUOTING, f"in http_api/static/reasons.{language}.js"
    for code, template in table.items():
        assert set(_FIELD.findall(template)) == set(_FIELD.findall(SENTENCES[code])), code
        assert needed(template) == needed(SENTENCES[code]), code
