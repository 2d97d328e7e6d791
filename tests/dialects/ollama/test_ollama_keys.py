"""Ollama reads keys in any case of letters, so only the right spelling goes on to it."""

from typing import Any

import pytest

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.requests import Hints
from ollama_proxyd.dialects.ollama.models import parse_show
from ollama_proxyd.dialects.ollama.parse import parse_chat, parse_embed, parse_embeddings, parse_generate
from ollama_proxyd.dialects.ollama.render import render
from ollama_proxyd.dialects.openai.render import render as render_openai

PARSERS = [parse_chat, parse_generate, parse_embed, parse_embeddings]
HEAD = b'{"model":"tiny","messages":[{"role":"user","content":"x"}],"prompt":"x","input":"x"'


@pytest.mark.parametrize("key", ["Model", "MODEL", "moDel", "Stream", "Options", "Messages", "Images", "\u017fystem"])
@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize("model", ["tiny", "tiny:latest", "other"])
def test_a_key_in_another_case_does_not_reach_an_ollama(parse: Any, key: str, model: str) -> None:
    request = parse(HEAD + f',"{key}":"other"}}'.encode(), Hints())
    with pytest.raises(ProxyError, match=key) as caught:
        render(request, model)
    assert (caught.value.kind, caught.value.param) == (ErrorKind.INVALID_REQUEST, key)


def test_it_is_an_unknown_field_to_any_other_server() -> None:
    request = parse_chat(HEAD + b',"Model":"other"}', Hints())
    rendered = render_openai(request, "tiny")
    assert b"other" not in rendered.body
    assert "Model" in rendered.ignored_fields


def test_unknown_keys_go_on_to_an_ollama() -> None:
    body = HEAD + b',"models":1,"x":{"Model":"other"}}'
    assert render(parse_chat(body, Hints()), "tiny").body == body


@pytest.mark.parametrize("again", [b'"model":"tiny"', b'"mod\\u0065l":"tiny"'])
@pytest.mark.parametrize("model", ["tiny", "tiny:latest"])
def test_a_model_that_is_named_twice_is_named_once_to_an_ollama(again: bytes, model: str) -> None:
    body = HEAD.replace(b'"tiny"', b'"other"') + b', "x": [1.0] ,' + again + b"}"
    request = parse_chat(body, Hints())
    assert request.model == "tiny"
    rendered = render(request, model).body
    assert rendered == HEAD + b',"x":[1.0]}'


@pytest.mark.parametrize("key", ["Model", "NAME"])
def test_a_question_about_a_model_names_it_in_the_right_case(key: str) -> None:
    with pytest.raises(ProxyError, match=key):
        parse_show(f'{{"model":"tiny","{key}":"other"}}'.encode())
