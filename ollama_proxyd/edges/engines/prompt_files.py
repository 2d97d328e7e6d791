"""The files with the prompts of engines, in a folder for each backend that only its user can enter."""

import asyncio
import secrets
import shutil
import struct
import time
from array import array
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
from yarl import URL

from ollama_proxyd.core.engine_instances import Address
from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.requests import Json, Operation, Request
from ollama_proxyd.core.saved_prompts import SavedPrompt, Slot
from ollama_proxyd.dialects.openai.dialect import OpenAI
from ollama_proxyd.edges.plumbing.call import Call
from ollama_proxyd.edges.plumbing.http import HttpClient
from ollama_proxyd.edges.plumbing.way import root_of, way_to
from ollama_proxyd.services.large import off_loop

MOST_SLOTS: Final = 64
MARK_LETTERS: Final = 32
MOST_TOKENS: Final = 1 << 20
_ENDING: Final = ".prompt"
_HEAD: Final = struct.Struct("=III")
"""What such a file is, its version, and how many tokens follow."""
_MAGIC: Final = 0x67677371
"""`LLAMA_STATE_SEQ_MAGIC` of llama.h."""
_MOST_ID: Final = 2**31
_DIALECT: Final = OpenAI()


class PromptFiles:
    """Written and read by llama-server itself (tools/server/README.md, POST /slots/{id_slot})."""

    def __init__(self, root: Path, http: HttpClient) -> None:
        self._root = root
        self._http = http

    def folder(self, backend_id: str) -> str:
        """Where the processes of a backend have them; made with the first call."""
        folder = self._root / backend_id
        with suppress(OSError):
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
        return str(folder)

    async def slots(self, address: Address, api_key: str) -> list[Slot]:
        """What the slots of a process hold; raises ProxyError."""
        told = await self._ask("GET", "/slots", address, api_key)
        found = told[:MOST_SLOTS] if isinstance(told, list) else []
        return [
            Slot(each["id"], each["n_prompt_tokens"], bool(each.get("is_processing")))
            for each in found
            if isinstance(each, dict)
            and isinstance(each.get("id"), int)
            and isinstance(each.get("n_prompt_tokens"), int)
        ]

    async def tokens(self, request: Request, model: str, address: Address, api_key: str) -> Sequence[int]:
        """What a process reads for a request; none where it cannot be told. Raises ProxyError."""
        body = (await off_loop(len(request.body), partial(_DIALECT.render, request, model))).body
        is_chat = request.operation is Operation.CHAT
        told = await self._ask("POST", "/apply-template", address, api_key, body) if is_chat else _decoded(body)
        prompt = told.get("prompt") if isinstance(told, dict) else None
        if not isinstance(prompt, str):
            return ()
        question = {"content": prompt, "add_special": True, "parse_special": True}
        told = await self._ask("POST", "/tokenize", address, api_key, msgspec.json.encode(question))
        found = told.get("tokens") if isinstance(told, dict) else None
        return _ids(found) if isinstance(found, list) else ()

    async def saved(self, backend_id: str, mark: str) -> list[SavedPrompt]:
        """Those that processes left which were started the same way."""
        return await asyncio.to_thread(_saved, self._root / backend_id, mark[:MARK_LETTERS])

    async def save(self, backend_id: str, mark: str, number: int, address: Address, api_key: str) -> None:
        """Have a process write the prompt of a slot, in a file of its own."""
        file = self._root / backend_id / f"{mark[:MARK_LETTERS]}-{secrets.token_hex(8)}{_ENDING}"
        try:
            await self._ask("POST", f"/slots/{number}?action=save", address, api_key, _named(file))
            await asyncio.to_thread(file.chmod, 0o600)
        except BaseException:
            await asyncio.to_thread(file.unlink, missing_ok=True)
            raise

    async def restore(self, backend_id: str, name: str, number: int, address: Address, api_key: str) -> int:
        """Have it read one; how many tokens that were, 0 where it is gone. It is gone in any case then."""
        file = self._root / backend_id / name
        if not await asyncio.to_thread(file.exists):
            return 0
        try:
            told = await self._ask("POST", f"/slots/{number}?action=restore", address, api_key, _named(file))
        finally:
            await asyncio.to_thread(file.unlink, missing_ok=True)
        tokens = told.get("n_restored") if isinstance(told, dict) else None
        return tokens if isinstance(tokens, int) else 0

    async def keep_only(self, backend_id: str, marks: Collection[str]) -> None:
        """Remove what has another mark."""
        await asyncio.to_thread(_keep_only, self._root / backend_id, {each[:MARK_LETTERS] for each in marks})

    async def keep_backends(self, ids: Collection[str]) -> None:
        """Remove what belongs to other backends."""
        await asyncio.to_thread(_keep_folders, self._root, ids)

    async def bound(self, most_bytes: float, most_s: float) -> tuple[int, int]:
        """Remove what is older, and the oldest until the others take no more than that; how many, and their bytes."""
        return await asyncio.to_thread(_bound, self._root, most_bytes, most_s)

    async def _ask(self, method: str, path: str, address: Address, api_key: str, body: bytes | None = None) -> Any:
        place = URL(address.endpoint)
        headers = {"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"}
        url, who = root_of(place).join(URL(path)), f"the engine at {place}"
        async with self._http.ask(Call(method, url, who, headers, body, way=way_to(place), keeps=False)) as reply:
            said = await reply.body()
        if reply.status != 200:
            raise ProxyError(ErrorKind.UPSTREAM_FAILED, f"{who} answered {reply.status}", status=reply.status)
        if (told := _decoded(said)) is None:
            raise ProxyError(ErrorKind.UPSTREAM_FAILED, f"{who} answered something that is not JSON")
        return told


def _keep_only(folder: Path, marks: Collection[str]) -> None:
    for each in folder.glob(f"*{_ENDING}"):
        if each.name[:MARK_LETTERS] not in marks:
            _remove(each)


def _keep_folders(root: Path, ids: Collection[str]) -> None:
    for each in root.glob("*"):
        if each.name not in ids:
            shutil.rmtree(each, ignore_errors=True)


def _bound(root: Path, most_bytes: float, most_s: float) -> tuple[int, int]:
    if not most_bytes:
        shutil.rmtree(root, ignore_errors=True)
        return 0, 0
    used, kept, oldest_s = 0, list[int](), time.time() - most_s
    for written_s, size_bytes, file in sorted(_written(root), reverse=True):
        used += size_bytes
        if used > most_bytes or written_s < oldest_s:
            _remove(file)
        else:
            kept.append(size_bytes)
    return len(kept), sum(kept)


def _saved(folder: Path, mark: str) -> list[SavedPrompt]:
    found = []
    for each in folder.glob(f"{mark}-*{_ENDING}"):
        with suppress(OSError):
            found.append(SavedPrompt(each.name, each.stat().st_size, _tokens_in(each)))
    return found


def _named(file: Path) -> bytes:
    return msgspec.json.encode({"filename": file.name})


def _decoded(body: bytes) -> Any:
    """None for what is no JSON."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _tokens_in(file: Path) -> Sequence[int]:
    """The prompt at its beginning (`llama_state_seq_save_file`); none in another form."""
    tokens = array("i")
    with file.open("rb") as opened:
        start = opened.read(_HEAD.size)
        magic, _version, count = _HEAD.unpack(start) if len(start) == _HEAD.size else (0, 0, 0)
        if magic == _MAGIC and count <= MOST_TOKENS:
            written = opened.read(count * tokens.itemsize)
            tokens.frombytes(written[: len(written) - len(written) % tokens.itemsize])
    return tokens


def _ids(told: list[Json]) -> Sequence[int]:
    return array("i", [each for each in told if isinstance(each, int) and abs(each) < _MOST_ID])


def _written(root: Path) -> Iterator[tuple[float, int, Path]]:
    """When each was written, and its size."""
    for each in root.glob(f"*/*{_ENDING}"):
        with suppress(OSError):
            state = each.stat()
            yield state.st_mtime, state.st_size, each


def _remove(file: Path) -> None:
    with suppress(OSError):
        file.unlink()
