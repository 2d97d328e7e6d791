"""The files with the prompts of engines, in a folder for each backend that only its user can enter."""

import asyncio
import shutil
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec
from yarl import URL

from ollama_proxyd.core.engine_instances import Address
from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.saved_prompts import Slot
from ollama_proxyd.edges.plumbing.call import Call
from ollama_proxyd.edges.plumbing.http import HttpClient
from ollama_proxyd.edges.plumbing.way import root_of, way_to

MOST_SLOTS: Final = 64
MARK_LETTERS: Final = 32
_ENDING: Final = ".prompt"


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

    async def save(self, backend_id: str, mark: str, number: int, address: Address, api_key: str) -> None:
        """Have a process write the prompt of a slot."""
        file = self._file(backend_id, mark, number)
        try:
            await self._ask("POST", f"/slots/{number}?action=save", address, api_key, {"filename": file.name})
            await asyncio.to_thread(file.chmod, 0o600)
        except BaseException:
            await asyncio.to_thread(file.unlink, missing_ok=True)
            raise

    async def restore(self, backend_id: str, mark: str, number: int, address: Address, api_key: str) -> int:
        """Have it read one; how many tokens that were, 0 where there is none. The file is gone in any case."""
        file = self._file(backend_id, mark, number)
        if not await asyncio.to_thread(file.exists):
            return 0
        try:
            told = await self._ask("POST", f"/slots/{number}?action=restore", address, api_key, {"filename": file.name})
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

    async def bound(self, most_bytes: float, most_s: float) -> None:
        """Remove what is older, and the oldest until the others take no more than that."""
        await asyncio.to_thread(_bound, self._root, most_bytes, most_s)

    def _file(self, backend_id: str, mark: str, number: int) -> Path:
        return self._root / backend_id / f"{mark[:MARK_LETTERS]}-{number}{_ENDING}"

    async def _ask(
        self, method: str, path: str, address: Address, api_key: str, question: Mapping[str, str] | None = None
    ) -> Any:
        place = URL(address.endpoint)
        headers = {"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"}
        body = None if question is None else msgspec.json.encode(question)
        url, who = root_of(place).join(URL(path)), f"the engine at {place}"
        async with self._http.ask(Call(method, url, who, headers, body, way=way_to(place), keeps=False)) as reply:
            said = await reply.body()
        if reply.status != 200:
            raise ProxyError(ErrorKind.UPSTREAM_FAILED, f"{who} answered {reply.status}", status=reply.status)
        try:
            return msgspec.json.decode(said)
        except msgspec.MsgspecError:
            raise ProxyError(ErrorKind.UPSTREAM_FAILED, f"{who} answered something that is not JSON") from None


def _keep_only(folder: Path, marks: Collection[str]) -> None:
    for each in folder.glob(f"*{_ENDING}"):
        if each.name[:MARK_LETTERS] not in marks:
            _remove(each)


def _keep_folders(root: Path, ids: Collection[str]) -> None:
    for each in root.glob("*"):
        if each.name not in ids:
            shutil.rmtree(each, ignore_errors=True)


def _bound(root: Path, most_bytes: float, most_s: float) -> None:
    if not most_bytes:
        shutil.rmtree(root, ignore_errors=True)
        return
    used, oldest_s = 0, time.time() - most_s
    for written_s, size_bytes, file in sorted(_written(root), reverse=True):
        used += size_bytes
        if used > most_bytes or written_s < oldest_s:
            _remove(file)


def _written(root: Path) -> Iterator[tuple[float, int, Path]]:
    """When each was written, and its size."""
    for each in root.glob(f"*/*{_ENDING}"):
        with suppress(OSError):
            state = each.stat()
            yield state.st_mtime, state.st_size, each


def _remove(file: Path) -> None:
    with suppress(OSError):
        file.unlink()
