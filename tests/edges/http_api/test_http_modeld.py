"""modeld's routes: lines of tokens with the whole answer last, its models, and what is in memory."""

import json
from typing import Any

import pytest

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Accepted, Delta, Finished, FinishReason, Usage
from ollama_proxyd.core.fleet import LoadedModel, Model
from ollama_proxyd.core.log_wish import LogWish
from ollama_proxyd.core.requests import Completion
from tests.edges.http_api.conftest import Answer, Serve, Site
from tests.fakes import FakeBackend

ASKED = {"model": "tiny", "prompt": "Hi"}
SAID = (Accepted(), Delta("Hel"), Delta("lo"), Finished(FinishReason.LENGTH, Usage(3, 2)))


async def infer(site: Site, headers: dict[str, str] | None = None, **fields: Any) -> Answer:
    return await site.post("/infer", {**ASKED, **fields}, headers=headers)


def lines(answer: Answer) -> list[Any]:
    return [json.loads(line) for line in answer.body.splitlines()]


async def test_tokens_come_in_lines_and_the_last_has_it_all(serve: Serve) -> None:
    answer = await infer(await serve(FakeBackend("npu", *SAID)))
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/x-ndjson")
    *tokens, last = lines(answer)
    assert tokens == [{"token": "Hel"}, {"token": "lo"}]
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    assert last == {"done": True, "content": "Hello", "finish_reason": "length", "usage": usage}
    assert answer.headers["X-Backend-Used"] == "npu"


async def test_without_a_stream_the_last_line_comes_alone(serve: Serve) -> None:
    answer = await infer(await serve(FakeBackend("npu", *SAID)), stream=False)
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json["content"] == "Hello"


async def test_its_fields_reach_the_engine_in_canonical_words(serve: Serve) -> None:
    npu = FakeBackend("npu", *SAID)
    given: dict[str, Any] = {
        "max_tokens": 5,
        "temperature": 0.5,
        "top_k": 3,
        "stop": ["x"],
        "seed": 1,
        "repeat_penalty": 1.1,
    }
    await infer(await serve(npu), **given)
    request, _ = npu.requests[0]
    content = request.content()
    assert isinstance(content, Completion)
    assert content.prompt == "Hi"
    assert content.options.known["repeat_penalty"] == 1.1
    assert {"temperature", "top_k", "stop", "seed"} <= set(content.options.known)
    assert request.max_tokens == 5


@pytest.mark.parametrize(
    ("path", "headers", "wish"),
    [
        ("/infer?log=debug", {}, LogWish.DEBUG),
        ("/infer?log=1", {}, LogWish.DEBUG),
        ("/infer", {"X-Log-Level": "off"}, LogWish.OFF),
        ("/infer", {"X-Log-Infer": "1"}, LogWish.INFO),
        ("/infer", {}, None),
    ],
)
async def test_a_client_says_how_much_is_logged(
    serve: Serve, path: str, headers: dict[str, str], wish: LogWish | None
) -> None:
    npu = FakeBackend("npu", *SAID)
    await (await serve(npu)).post(path, ASKED, headers=headers)
    assert npu.requests[0][0].hints.log is wish


async def test_another_word_for_it_is_refused(serve: Serve) -> None:
    answer = await infer(await serve(), {"X-Log-Level": "loud"})
    assert (answer.status, "X-Log-Level must be one of off, error" in answer.json["error"]) == (400, True)


async def test_without_a_model_the_best_one_answers(serve: Serve) -> None:
    site = await serve(FakeBackend("npu", *SAID))
    assert (await site.post("/infer", {"prompt": "Hi"})).status == 200


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b'{"model":"tiny"}', "application/json", 400),
        (b'{"model":"tiny","prompt":""}', "application/json", 400),
        (b'{"model":1,"prompt":"a"}', "application/json", 400),
        (b'{"model":"tiny","prompt":"a","stream":"no"}', "application/json", 400),
        (b"{", "application/json", 400),
        (b'{"model":"unknown","prompt":"a"}', "application/json", 404),
        (b'{"model":"tiny","prompt":"a"}', "text/plain", 415),
    ],
)
async def test_an_error_has_its_status_as_code(serve: Serve, body: bytes, kind: str, status: int) -> None:
    answer = await (await serve()).ask("POST", "/infer", data=body, headers={"Content-Type": kind})
    assert answer.status == status
    assert answer.json["error"]
    assert answer.json["code"] == status


async def test_an_answer_that_breaks_off_ends_with_an_error_line(serve: Serve) -> None:
    site = await serve(FakeBackend("npu", *SAID[:2], ProxyError(ErrorKind.UPSTREAM_FAILED, "it broke")))
    *_, last = lines(await infer(site))
    assert last == {"error": "it broke", "code": 502}


async def test_models_have_modelds_keys(serve: Serve) -> None:
    site = await serve(FakeBackend("npu", models=[Model("a", quantization="Q4_0", family="llama")]))
    (model,) = (await site.get("/models")).json["models"]
    assert model == {"id": "a", "name": "a", "path": None, "quant": "Q4_0", "family": "llama", "backends": ["npu"]}


async def test_the_status_tells_each_model_in_memory(serve: Serve) -> None:
    loaded = [LoadedModel("tiny:latest", size_bytes=2**30, size_vram_bytes=2**29)]
    site = await serve(FakeBackend("npu", *SAID, loaded=loaded), FakeBackend("cpu"))
    await infer(site)
    (instance,) = (await site.get("/status")).json["instances"]
    assert instance.pop("last_used_unix") > 0
    assert instance.pop("max_queue_depth") > 0
    assert (instance["model_id"], instance["backend"], instance["state"]) == ("tiny:latest", "npu", "ready")
    assert (instance["est_vram_mb"], instance["queue_len"], instance["inflight"]) == (512, 0, 0)
