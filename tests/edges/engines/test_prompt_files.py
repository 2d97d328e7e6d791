"""Prompts of engines on the disk: whose they are, and what of them is removed."""

import json
import os
import struct
from collections.abc import Sequence
from pathlib import Path

import pytest
from aiohttp import web

from ollama_proxyd.core.engine_instances import Address
from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.requests import Hints
from ollama_proxyd.core.saved_prompts import Slot
from ollama_proxyd.dialects.openai.parse import parse_completion
from ollama_proxyd.edges.engines.prompt_files import MARK_LETTERS, PromptFiles
from tests.dialects.openai.openai_samples import openai_chat
from tests.upstreams.fake_engines import FakeEngine, Says, a_client, serving

MARK = "a" * 64
KEY = "key"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "state/prompts"


def put(root: Path, backend_id: str, mark: str, number: int, size: int = 10, written_s: float | None = None) -> Path:
    file = root / backend_id / f"{mark[:MARK_LETTERS]}-{number}.prompt"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"x" * size)
    if written_s is not None:
        os.utime(file, (written_s, written_s))
    return file


def names(root: Path) -> list[str]:
    return sorted(f"{each.parent.name}/{each.stem[-3:]}" for each in root.glob("*/*.prompt"))


def modes(folder: Path) -> list[tuple[str, int]]:
    return [(each.name, each.stat().st_mode & 0o777) for each in folder.glob("*")]


async def test_the_slots_are_those_that_tell_how_much_they_hold(root: Path) -> None:
    told = [
        {"id": 0, "n_prompt_tokens": 9, "is_processing": True},
        {"id": 1, "is_processing": False},
        {"id": 2, "n_prompt_tokens": 7},
        {"id": "3", "n_prompt_tokens": 7},
        None,
    ]
    async with serving(FakeEngine({"GET /slots": Says(told)})) as engine, a_client() as http:
        found = await PromptFiles(root, http).slots(Address(engine.port), KEY)
        assert found == [Slot(0, 9, is_busy=True), Slot(2, 7, is_busy=False)]
        assert engine.asked[0].headers["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("says", [Says({}, 501), Says(b"odd")])
async def test_an_engine_that_does_not_tell_them_is_an_error(root: Path, says: Says) -> None:
    async with serving(FakeEngine({"GET /slots": says})) as engine, a_client() as http:
        with pytest.raises(ProxyError):
            await PromptFiles(root, http).slots(Address(engine.port), KEY)


async def test_only_their_user_may_read_them_and_one_that_was_read_is_gone(root: Path) -> None:
    async def act(request: web.Request) -> web.Response:
        name = (await request.json())["filename"]
        if request.query["action"] == "save":
            (root / "llama" / name).write_bytes(b"said")
            return web.json_response({"n_saved": 3})
        return web.json_response({"n_restored": 3 if (root / "llama" / name).exists() else 0})

    async with serving(FakeEngine({"POST /slots/1": act})) as engine, a_client() as http:
        files, at = PromptFiles(root, http), Address(engine.port)
        assert [each.stat().st_mode & 0o777 for each in (Path(files.folder("llama")), root)] == [0o700, 0o700]
        await files.save("llama", MARK, 1, at, KEY)
        ((name, mode),) = modes(root / "llama")
        assert mode == 0o600
        assert await files.restore("llama", name, 1, at, KEY) == 3
        assert (names(root), await files.restore("llama", name, 1, at, KEY)) == ([], 0)
        assert [json.loads(each.body) for each in engine.asked] == [{"filename": name}] * 2


async def test_what_cannot_be_saved_or_read_leaves_no_file(root: Path) -> None:
    async with serving(FakeEngine({"POST /slots/0": Says({"error": "odd"}, 400)})) as engine, a_client() as http:
        files, at = PromptFiles(root, http), Address(engine.port)
        with pytest.raises(ProxyError, match="answered 400"):
            await files.save("llama", MARK, 0, at, KEY)
        file = put(root, "llama", MARK, 0)
        with pytest.raises(ProxyError, match="answered 400"):
            await files.restore("llama", file.name, 0, at, KEY)
        assert names(root) == []


def written(tokens: Sequence[int], magic: int = 0x67677371) -> bytes:
    """How such a file begins."""
    return struct.pack(f"=III{len(tokens)}i", magic, 2, len(tokens), *tokens) + b"state"


async def test_what_is_saved_is_told_with_the_tokens_at_its_beginning(root: Path) -> None:
    async with a_client() as http:
        files = PromptFiles(root, http)
        for number, content in enumerate([written([7, 8, -1]), written([7], magic=1), b"", written([7, 8])[:15]]):
            put(root, "llama", MARK, number).write_bytes(content)
        put(root, "llama", "b" * 64, 0).write_bytes(written([9]))
        found = sorted(await files.saved("llama", MARK))
        assert [list(each.tokens) for each in found] == [[7, 8, -1], [], [], []]
        assert found[0].size_bytes == len(written([7, 8, -1]))
        assert await files.saved("npu", MARK) == []


async def test_the_tokens_of_a_request_are_those_that_the_engine_reads(root: Path) -> None:
    routes = {"POST /apply-template": Says({"prompt": "<s>hi"}), "POST /tokenize": Says({"tokens": [1, 2, "3", 2**40]})}
    async with serving(FakeEngine(routes)) as engine, a_client() as http:
        files, at = PromptFiles(root, http), Address(engine.port)
        assert list(await files.tokens(openai_chat(), "own", at, KEY)) == [1, 2]
        chat, text = (each.json for each in engine.asked)
        assert (chat["model"], chat["messages"][0]["content"]) == ("own", "hi")
        assert text == {"content": "<s>hi", "add_special": True, "parse_special": True}
        completion = parse_completion(b'{"model":"tiny","prompt":"go on"}', Hints())
        assert list(await files.tokens(completion, "own", at, KEY)) == [1, 2]
        assert engine.asked[-1].json["content"] == "go on"


@pytest.mark.parametrize("says", [Says({}), Says({"prompt": 7}), Says([])])
async def test_of_what_cannot_be_told_there_are_no_tokens(root: Path, says: Says) -> None:
    async with serving(FakeEngine({"POST /apply-template": says})) as engine, a_client() as http:
        assert list(await PromptFiles(root, http).tokens(openai_chat(), "own", Address(engine.port), KEY)) == []


async def test_what_is_too_old_or_too_much_goes_the_oldest_first(root: Path) -> None:
    async with a_client() as http:
        files = PromptFiles(root, http)
        put(root, "a", MARK, 0, written_s=1)
        for number, minutes in ((1, 3), (2, 2), (3, 1)):
            file = put(root, "b", MARK, number)
            os.utime(file, (file.stat().st_mtime - 60 * minutes,) * 2)
        assert await files.bound(1000, 3600) == (3, 30)
        assert names(root) == ["b/a-1", "b/a-2", "b/a-3"]
        await files.bound(20, 3600)
        assert names(root) == ["b/a-2", "b/a-3"]
        await files.bound(0, 3600)
        await files.bound(0, 3600)
        assert modes(root.parent) == []


async def test_what_belongs_to_no_model_or_backend_goes(root: Path) -> None:
    async with a_client() as http:
        files = PromptFiles(root, http)
        for backend_id in ("a", "b"):
            put(root, backend_id, MARK, 0)
            put(root, backend_id, "b" * 64, 0)
        await files.keep_only("a", [MARK])
        assert names(root) == ["a/a-0", "b/a-0", "b/b-0"]
        await files.keep_backends(["a"])
        assert names(root) == ["a/a-0"]
