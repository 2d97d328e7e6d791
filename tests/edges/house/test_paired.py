"""What is kept of paired machines outlives the daemon, and files of earlier versions are read."""

import json
from dataclasses import replace
from pathlib import Path

from ollama_proxyd.core.house import Offer, Peer
from ollama_proxyd.edges.house.identity import identity_in
from ollama_proxyd.edges.house.paired import Paired


def peer_in(folder: Path) -> Peer:
    own = identity_in(folder)
    return Peer(own.fingerprint, "desktop", own.certificate, "10.0.0.1", 11484)


def test_the_backends_of_a_machine_are_known_after_a_restart(tmp_path: Path) -> None:
    offering = replace(peer_in(tmp_path), offers=(Offer("gpu", "The card", "nvidia"),))
    Paired(tmp_path / "peers.json").add(offering)
    again = Paired(tmp_path / "peers.json")
    again.read()
    assert list(again.peers) == [offering]


def test_a_file_without_backends_is_read(tmp_path: Path) -> None:
    path, peer = tmp_path / "peers.json", peer_in(tmp_path)
    Paired(path).add(peer)
    kept = json.loads(path.read_bytes())
    for each in kept["peers"]:
        del each["offers"]
    path.write_text(json.dumps(kept))
    again = Paired(path)
    again.read()
    assert list(again.peers) == [peer]
