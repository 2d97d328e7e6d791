"""Front ends: what they pin holds in every call, and on connections that outlast a reload."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from ollama_proxyd.app.sources import Demo
from tests.app.conftest import Running, Start
from tests.app.two_engines import Engine, ask, chat, config, two_engines

PINNED = {"model": "small:1b", "max_tokens": 32, "temperature": 0.25, "seed": 7, "n": 1}
KIOSK = {"name": "kiosk", "hosts": ["kiosk.test"], "pinned": PINNED}


@pytest.fixture(autouse=True)  # before the daemon, so that they end after it
async def engines() -> AsyncIterator[tuple[Engine, Engine]]:
    async with two_engines() as both:
        yield both


@pytest.mark.parametrize(
    ("path", "body", "got"),
    [
        ("/infer", {"prompt": "a", "max_tokens": 9000, "temperature": 2, "stream": False}, ("max_tokens", "seed")),
        ("/infer", {"prompt": "a", "model": None, "stream": False}, ("temperature", "max_tokens", "seed")),
        ("/infill", {"input_prefix": "a", "input_suffix": "b", "n_predict": 9000, "seed": 1}, ("n_predict", "seed")),
        ("/v1/images/generations", {"prompt": "a", "n": 9}, ("n",)),
    ],
)
async def test_pinned_options_hold_in_calls_of_every_kind(
    start: Start, engines: tuple[Engine, Engine], path: str, body: dict[str, Any], got: tuple[str, ...]
) -> None:
    running = await start(config(engines, KIOSK), Demo.NEVER)
    asked = {"model": "large:70b", **body}
    answered = await ask(running, path, asked, host="kiosk.test", X_Target_Backend="npu")
    assert answered.status == 200, answered.text
    (told,) = engines[1].bodies
    pinned = {**PINNED, "n_predict": 32}
    assert {name: told[name] for name in ("model", *got)} == {name: pinned[name] for name in ("model", *got)}
    assert "max_tokens" in got or "max_tokens" not in told


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/api/chat"])
async def test_no_other_word_of_an_engine_gets_round_a_pinned_option(
    start: Start, engines: tuple[Engine, Engine], path: str
) -> None:
    others: dict[str, Any] = {
        "samplers": ["top_k"],
        "mirostat": 2,
        "max_new_tokens": 9000,
        "temp": 2,
        "extra_body": {"seed": 1},
    }
    asked = chat(**others, options=others) if "chat" in path else {"input": "hello", **others}
    running = await start(config(engines, KIOSK), Demo.NEVER)
    answered = await ask(running, path, asked, host="kiosk.test", X_Target_Backend="npu")
    assert answered.status == 200, answered.text
    (told,) = engines[1].bodies
    assert not told.keys() & others.keys()
    assert [told[name] for name in ("temperature", "seed")] == [0.25, 7]


async def test_an_option_without_words_in_the_clients_api_reaches_an_engine_of_that_api(
    start: Start, engines: tuple[Engine, Engine]
) -> None:
    asked = {"model": "small:1b", "max_tokens": 9000, "messages": [{"role": "user", "content": "hello"}]}
    running = await start(config(engines, KIOSK), Demo.NEVER)
    answered = await ask(running, "/v1/messages", asked, host="kiosk.test", X_Target_Backend="gpu")
    assert answered.status == 200, answered.text
    (told,) = engines[0].bodies
    assert told["options"] == {"num_predict": 32, "temperature": 0.25, "seed": 7}


async def test_tokens_are_counted_by_the_pinned_model(start: Start, engines: tuple[Engine, Engine]) -> None:
    running = await start(config(engines, KIOSK), Demo.NEVER)
    body = {"messages": [{"role": "user", "content": "hello"}], "model": "unknown:1b"}
    counts = [await ask(running, "/v1/messages/count_tokens", body, host="kiosk.test")]
    counts.append(await ask(running, "/v1/messages/count_tokens", {**body, "model": "small:1b"}))
    assert [each.status for each in counts] == [200, 200]
    assert abs(counts[0].json["input_tokens"] - counts[1].json["input_tokens"]) <= 1


async def test_a_message_on_a_websocket_is_held_against_the_present_rules(
    start: Start, engines: tuple[Engine, Engine]
) -> None:
    running = await start(config(engines, KIOSK), Demo.NEVER)
    async with _socket(running) as socket:
        assert (await _told(socket, max_tokens=9000))["done"]
        await running.rewrite(config(engines, {**KIOSK, "pinned": {"max_tokens": 8}, "max_body_bytes": 1024}))
        assert (await _told(socket, max_tokens=9000))["done"]
        assert (await _told(socket, user="x" * 1024))["code"] == "too_large"
        await running.rewrite(config(engines))
        refused = await _told(socket, max_tokens=9000)
        assert refused["code"] == "forbidden"
        assert "kiosk.test" in refused["error"]
    asked = [body.get("max_tokens") or body["options"]["num_predict"] for each in engines for body in each.bodies]
    assert sorted(asked) == [8, 32]


async def test_a_token_that_was_changed_opens_nothing_on_a_websocket(
    start: Start, engines: tuple[Engine, Engine], tmp_path: Path
) -> None:
    for name in ("old", "new"):
        (tmp_path / name).write_text(f"the-secret-token-that-is-{name}")
        (tmp_path / name).chmod(0o600)
    by_token = [{**KIOSK, "token_file": str(tmp_path / name)} for name in ("old", "new")]
    running = await start(config(engines, by_token[0]), Demo.NEVER)
    async with _socket(running, Authorization="Bearer the-secret-token-that-is-old") as socket:
        assert "error" not in await _told(socket)
        await running.rewrite(config(engines, by_token[1]))
        assert "the token of the front end kiosk" in (await _told(socket))["error"]


def _socket(running: Running, **headers: str) -> Any:
    url = f"{running.daemon.url}/v1/stream/ws"
    return running.client.ws_connect(url, headers={"Host": "kiosk.test", **headers})


async def _told(socket: aiohttp.ClientWebSocketResponse, **fields: Any) -> Any:
    """The last message of an answer."""
    await socket.send_json(chat(stream=False, **fields))
    return await socket.receive_json(timeout=30)
