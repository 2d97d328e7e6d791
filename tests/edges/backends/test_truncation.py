"""Texts that are too long to embed are cut for Ollama's clients, as Ollama cuts them."""

import json
from typing import Any

import pytest
from aiohttp import web

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Embedded, Event, Finished
from ollama_proxyd.core.requests import Api, Hints, Request
from ollama_proxyd.dialects.ollama.parse import parse_embed, parse_embeddings
from ollama_proxyd.dialects.openai.parse import parse_embedding
from ollama_proxyd.edges.backends.backend import EngineBackend
from tests.upstreams.fake_engines import FakeEngine, a_client, serving, spec_of

SPECIALS = 2
"""How many tokens the model puts around each text."""


def refusal(status: int, message: str, **more: Any) -> web.Response:
    return web.json_response({"error": {"code": status, "message": message, **more}}, status=status)


class WordEngine(FakeEngine):
    """A llama-server for which each word is a token; `batch` and `context` are its limits."""

    def __init__(self, batch: int, context: int) -> None:
        super().__init__({})
        self.routes = {
            "POST /v1/embeddings": self.embed,
            "POST /tokenize": self.tokenize,
            "POST /detokenize": self.detokenize,
        }
        self.batch = batch
        self.context = context
        self.words: list[str] = []
        self.half_a_letter = ""

    async def embed(self, request: web.Request) -> web.Response:
        given = (await request.json())["input"]
        texts = [given] if isinstance(given, str) else given
        longest = max(len(text.split()) for text in texts) + SPECIALS
        if longest > self.batch:
            words = f"input ({longest} tokens) is too large to process. increase the physical batch size "
            return refusal(500, f"{words}(current batch size: {self.batch})", type="server_error")
        if longest > self.context:
            words = f"input ({longest} tokens) is larger than the max context size ({self.context} tokens). skipping"
            return refusal(400, words, type="exceed_context_size_error", n_ctx=self.context)
        vectors = [{"index": index, "embedding": [1.0, 0.0]} for index in range(len(texts))]
        return web.json_response({"data": vectors, "usage": {"prompt_tokens": longest}})

    async def tokenize(self, request: web.Request) -> web.Response:
        asked = await request.json()
        self.words += asked["content"].split()
        start = len(self.words) - len(asked["content"].split())
        specials = [-1] * SPECIALS if asked.get("add_special") else []
        return web.json_response({"tokens": [*specials, *range(start, len(self.words))]})

    async def detokenize(self, request: web.Request) -> web.Response:
        tokens = (await request.json())["tokens"]
        return web.json_response({"content": " ".join(self.words[token] for token in tokens) + self.half_a_letter})

    def embedded(self) -> Any:
        """The texts of the last request for vectors."""
        return [asked.json["input"] for asked in self.asked if asked.path == "/v1/embeddings"][-1]


def asked(**fields: Any) -> Request:
    return parse_embed(json.dumps({"model": "tiny", **fields}).encode(), Hints())


async def answer(engine: WordEngine, request: Request, flavor: str = "llamacpp") -> list[Event]:
    async with serving(engine), a_client() as client:
        backend = EngineBackend(spec_of(engine.url, Api.OPENAI, flavor), client)
        return [event async for event in backend.answer(request, "tiny")]


def text(words: int) -> str:
    return " ".join(f"word{number}" for number in range(words))


@pytest.mark.parametrize("more", [{}, {"truncate": True}, {"truncate": None}])
async def test_a_text_that_is_too_long_is_cut_to_what_the_server_takes(more: dict[str, Any]) -> None:
    engine = WordEngine(batch=10, context=100)
    events = await answer(engine, asked(input=["short", text(50)], **more))
    assert engine.embedded() == ["short", text(10 - SPECIALS)]
    assert Embedded(((1.0, 0.0), (1.0, 0.0))) in events
    assert isinstance(events[-1], Finished)


async def test_a_server_may_name_one_limit_after_the_other() -> None:
    engine = WordEngine(batch=40, context=20)
    await answer(engine, asked(input=text(50)))
    assert engine.embedded() == text(20 - SPECIALS)


async def test_half_a_letter_at_the_cut_is_left_out() -> None:
    engine = WordEngine(batch=10, context=10)
    engine.half_a_letter = "\ufffd"
    await answer(engine, asked(input=text(50)))
    assert engine.embedded() == text(10 - SPECIALS)


async def test_the_older_call_cuts_too() -> None:
    engine = WordEngine(batch=10, context=10)
    await answer(engine, parse_embeddings(json.dumps({"model": "tiny", "prompt": text(50)}).encode(), Hints()))
    assert engine.embedded() == text(10 - SPECIALS)


async def test_who_wants_an_error_instead_of_a_cut_gets_one_that_names_the_field() -> None:
    with pytest.raises(ProxyError) as caught:
        await answer(WordEngine(batch=10, context=10), asked(input=text(50), truncate=False))
    assert (caught.value.kind, caught.value.param) == (ErrorKind.INVALID_REQUEST, "input")
    assert "more than the 10 tokens" in caught.value.message


async def test_a_text_that_fits_is_neither_counted_nor_cut() -> None:
    engine = WordEngine(batch=10, context=10)
    await answer(engine, asked(input=text(8)))
    assert [each.path for each in engine.asked] == ["/v1/embeddings"]


async def test_an_openai_client_gets_the_servers_own_refusal() -> None:
    engine = WordEngine(batch=10, context=10)
    request = parse_embedding(json.dumps({"model": "tiny", "input": text(50)}).encode(), Hints())
    with pytest.raises(ProxyError) as caught:
        await answer(engine, request)
    assert "too large to process" in (caught.value.detail or "")
    assert len(engine.asked) == 1


async def test_only_an_engine_that_is_known_to_count_tokens_is_asked_to() -> None:
    engine = WordEngine(batch=10, context=10)
    with pytest.raises(ProxyError) as caught:
        await answer(engine, asked(input=text(50)), "vllm")
    assert caught.value.status == 500
    assert len(engine.asked) == 1


async def test_a_server_that_is_never_content_is_believed_in_the_end() -> None:
    engine = WordEngine(batch=1, context=1)
    with pytest.raises(ProxyError) as caught:
        await answer(engine, asked(input=text(50)))
    assert "too large to process" in caught.value.message
    assert sum(each.path == "/v1/embeddings" for each in engine.asked) <= 5
