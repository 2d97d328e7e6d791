"""What is kept of paired machines outlives the daemon, and files of earlier versions are read."""

import asyncio
import json
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ollama_proxyd.core.house import Offer, Peer
from ollama_proxyd.edges.house import paired
from ollama_proxyd.edges.house.identity import identity_in, write_private
from ollama_proxyd.edges.house.paired import Paired


def peer_in(folder: Path) -> Peer:
    own = identity_in(folder)
    return Peer(own.fingerprint, "desktop", own.certificate, "10.0.0.1", 11484)


async def test_the_backends_of_a_machine_are_known_after_a_restart(tmp_path: Path) -> None:
    offering = replace(peer_in(tmp_path), offers=(Offer("gpu", "The card", "nvidia"),))
    await Paired(tmp_path / "peers.json").add(offering)
    again = Paired(tmp_path / "peers.json")
    again.read()
    assert list(again.peers) == [offering]


async def test_a_file_without_backends_is_read(tmp_path: Path) -> None:
    path, peer = tmp_path / "peers.json", peer_in(tmp_path)
    await Paired(path).add(peer)
    kept = json.loads(path.read_bytes())
    for each in kept["peers"]:
        del each["offers"]
    path.write_text(json.dumps(kept))
    again = Paired(path)
    again.read()
    assert list(again.peers) == [peer]


async def test_of_two_that_note_something_at_once_neither_undoes_the_other(tmp_path: Path) -> None:
    kept, peer, offers = Paired(tmp_path / "peers.json"), peer_in(tmp_path), (Offer("gpu", "The card", "nvidia"),)
    await kept.add(peer)
    news: list[dict[str, Any]] = [{"address": "10.0.0.9"}, {"offers": offers}]
    await asyncio.gather(*(kept.note(peer.fingerprint, **each) for each in news))
    kept.read()
    assert list(kept.peers) == [replace(peer, address="10.0.0.9", offers=offers)]


async def test_a_file_is_written_beside_the_loop_and_each_change_in_its_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a machine is heard to have may come while it is unpaired: it must not be kept again."""
    threads: list[int] = []

    def write(path: Path, content: bytes) -> None:
        threads.append(threading.get_ident())
        time.sleep(0.05)
        write_private(path, content)

    monkeypatch.setattr(paired, "write_private", write)
    (tmp_path / "other").mkdir()
    kept, peer, other = Paired(tmp_path / "peers.json"), peer_in(tmp_path), peer_in(tmp_path / "other")
    both = await asyncio.gather(kept.add(peer), kept.add(other))
    assert [each.name for each in both] == ["desktop", "desktop-2"]
    _, is_paired = await asyncio.gather(kept.remove(peer), kept.note(peer.fingerprint, address="10.0.0.9"))
    assert is_paired is None
    assert await kept.note(other.fingerprint, port=other.port) == both[1], "nothing is new, so nothing is written"
    assert (len(threads), threading.get_ident() in threads) == (3, False)
    kept.read()
    assert list(kept.peers) == [both[1]]
