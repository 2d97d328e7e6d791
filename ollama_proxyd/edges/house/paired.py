"""The paired machines, kept beside the key; readable by their owner alone."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from ollama_proxyd.core.house import MOST_PEERS, Peer
from ollama_proxyd.edges.house.identity import fingerprint, write_private

FORMAT = 1


class _File(msgspec.Struct):
    format: int
    peers: list[Peer]


class Paired:
    """The file of paired machines; each change is written before it counts."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._turn = asyncio.Lock()
        self.peers: Sequence[Peer] = ()

    def read(self) -> None:
        """Know what is kept; raises OSError, or ValueError for a file that is none of ours."""
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return
        kept = msgspec.json.decode(content, type=_File)
        if kept.format != FORMAT or any(fingerprint(each.certificate) != each.fingerprint for each in kept.peers):
            raise ValueError(f"{self._path} does not hold paired machines; move it away and pair them again")
        self.peers = tuple(kept.peers)

    async def add(self, peer: Peer) -> Peer:
        """Keep one, in place of one of the same certificate, under a name that no other has; returns what is kept.

        Raises OSError, or ValueError where it is too many.
        """
        async with self._turn:
            others = [each for each in self.peers if each.fingerprint != peer.fingerprint]
            if len(others) >= MOST_PEERS:
                raise ValueError(f"{MOST_PEERS} machines are paired, which is the most; unpair one first")
            kept = replace(peer, name=_free_name(peer.name, {each.name for each in others}))
            await self._write((*others, kept))
            return kept

    async def note(self, fingerprint: str, **news: Any) -> Peer | None:
        """Keep what is new of one, and all else as it is by then; None where it was unpaired. Raises OSError."""
        async with self._turn:
            known = next((each for each in self.peers if each.fingerprint == fingerprint), None)
            if known is None or (now := replace(known, **news)) == known:
                return known
            await self._write([now if each is known else each for each in self.peers])
            return now

    async def remove(self, peer: Peer) -> None:
        """Forget one; raises OSError."""
        async with self._turn:
            await self._write([each for each in self.peers if each.fingerprint != peer.fingerprint])

    async def _write(self, peers: Sequence[Peer]) -> None:
        content = msgspec.json.encode(_File(FORMAT, list(peers)))
        await asyncio.to_thread(write_private, self._path, content)
        self.peers = tuple(peers)


def _free_name(name: str, others: Collection[str]) -> str:
    names = (name, *(f"{name[:28]}-{number}" for number in range(2, len(others) + 3)))
    return next(each for each in names if each not in others)
