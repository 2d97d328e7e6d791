"""One word for one thing: the pages and the GNOME extension call it alike in each language."""

import json
import re

import pytest

from ollama_proxyd.core.sentences import SENTENCES
from ollama_proxyd.edges.http_api.pages import FOLDER
from tests.edges.http_api.test_http_page_scripts import run
from tests.real_things import ROOT

_MESSAGE = re.compile(
    r'^msgid (".+")\n(?:msgid_plural (".+")\n)?msgstr(?:\[0\])? (".+")(?:\nmsgstr\[1\] (".+"))?$', re.MULTILINE
)
_LINE = re.compile(r'^  (".+"): (".+"),$', re.MULTILINE)
TERMS = {
    "de": {r"requests?": "anfrage", r"devices?": "gerät", "held by": "angefordert"},
    "fr": {r"requests?": "requête", r"devices?": "périphérique", "held by": "demande"},
}
"""English words, and what the one word for each is or begins with."""


def of_extension(language: str) -> dict[str, str]:
    """What it says, by the English sentences."""
    found: dict[str, str] = {}
    for message in _MESSAGE.finditer((ROOT / "gnome-extension" / "po" / f"{language}.po").read_text()):
        said = [None if each is None else json.loads(each) for each in message.groups()]
        found |= {said[0]: said[2]} | ({said[1]: said[3]} if said[1] else {})
    return found


def of_pages(language: str) -> dict[str, str]:
    """The same of the pages."""
    return {json.loads(key): json.loads(said) for key, said in _LINE.findall((FOLDER / f"{language}.js").read_text())}


def of_reasons(language: str) -> dict[str, str]:
    """What the pages make of the daemon's reasons."""
    table = run(f"reasons.{language}.js", "it.default")
    return {SENTENCES[code]: said for code, said in table.items()}


@pytest.mark.parametrize("language", TERMS)
def test_what_both_say_they_say_alike(language: str) -> None:
    extension = {key.lower(): said.lower() for key, said in of_extension(language).items()}
    both = {key: said.lower() for key, said in of_pages(language).items() if key.lower() in extension}
    assert len(both) > 20
    assert {key: said for key, said in both.items() if extension[key.lower()] != said} == {}


@pytest.mark.parametrize("language", TERMS)
def test_a_thing_has_one_word(language: str) -> None:
    said = {**of_extension(language), **of_pages(language), **of_reasons(language)}
    assert len(said) > 400
    others = {
        key: each
        for english, word in TERMS[language].items()
        for key, each in said.items()
        if re.search(rf"(?<!\{{)\b{english}\b", key, re.IGNORECASE) and not re.search(word, each, re.IGNORECASE)
    }
    assert others == {}
