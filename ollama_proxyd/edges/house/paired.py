"""The paired machines, kept beside the key; readable by their owner alone."""

from collections.abc import Sequence
from pathlib import Path

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

    def add(self, peer: Peer) -> None:
        """Keep one, in place of one of the same certificate; raises OSError, or ValueError where it is too many."""
        others = [each for each in self.peers if each.fingerprint != peer.fingerprint]
        if len(others) >= MOST_PEERS:
            raise ValueError(f"{MOST_PEERS} machines are paired, which is the most; unpair one first")
        self._write((*others, peer))

    def remove(self, peer: Peer) -> None:
        """Forget one; raises OSError."""
        self._write([each for each in self.peers if each.fingerprint != peer.fingerprint])

    def _write(self, peers: Sequence[Peer]) -> None:
        write_private(self._path, msgspec.json.encode(_File(FORMAT, list(peers))))
        self.peers = tuple(peers)
