"""What is heard of paired machines counts while they are paired, and as long as their connections last."""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest

from ollama_proxyd.app import neighbours
from ollama_proxyd.app.neighbours import NeighbourNews, Neighbours
from ollama_proxyd.core.house import Offer, Peer
from ollama_proxyd.edges.house.link import LinkError
from ollama_proxyd.edges.plumbing.http import HttpClient
from ollama_proxyd.edges.plumbing.machine_words import BackendWords, MachineWords
from ollama_proxyd.edges.plumbing.way import Pinned
from ollama_proxyd.services.inventory import Source
from tests.fakes import FakeClock, FakeFleet, settle

PEER = Peer("f" * 64, "desktop", "", "10.0.0.1", 11484)
OLD_S, REACHED_AT = 5.0, "10.0.0.2"


def told(*names: str, tps: float = 20.0) -> MachineWords:
    return MachineWords([BackendWords(each, each, "nvidia", 1, 55.0, [], decode_tps=tps) for each in names])


class House:
    """A machine of the house that follows PEER, which is at its second place, while it is there."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = FakeClock()
        self.shared = Source("paired machines")
        self.kept: list[dict[str, Any]] = []
        self.ended = asyncio.Event()
        self.places = {REACHED_AT}
        self.tell: Callable[[MachineWords, float | None], None] | None = None
        monkeypatch.setattr(neighbours, "follow", self._follow)
        monkeypatch.setattr(neighbours, "prove", self._prove)
        news = NeighbourNews(
            lambda peer: [(peer.address, peer.port), (REACHED_AT, peer.port)], lambda _, **news: self.kept.append(news)
        )
        self.neighbours = Neighbours(
            self.shared, FakeFleet(clock=self.clock), cast("HttpClient", None), self.clock, news
        )

    async def _follow(self, address: str, _port: int, _context: Any, tell: Any) -> None:
        await self._prove(address)
        self.tell = tell
        await self.ended.wait()
        self.ended.clear()
        raise LinkError("it has closed the connection")

    async def _prove(self, address: str, *_: Any) -> None:
        if address not in self.places:
            self.clock.advance(OLD_S)
            raise LinkError("nothing is there")

    async def pair(self) -> None:
        self.neighbours.add(PEER, Pinned(ssl.PROTOCOL_TLS_CLIENT))
        await settle()

    def hear(self, words: MachineWords) -> None:
        assert self.tell is not None
        self.tell(words, None)

    @property
    def profiles(self) -> dict[str, float | None]:
        return {each.spec.id: each.spec.profile.decode_tps for each in self.shared.backends.value}


async def test_what_a_machine_says_after_it_was_unpaired_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(monkeypatch)
    await house.pair()
    house.hear(told("gpu"))
    assert house.kept == [{"offers": (Offer("gpu", "gpu", "nvidia"),)}]
    house.neighbours.remove(PEER.fingerprint)
    house.hear(told("gpu", "npu"))
    assert len(house.kept) == 1
    assert not house.shared.backends.value
    await house.neighbours.close()


async def test_a_connection_that_ends_at_once_makes_a_machine_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it took to find it."""
    house = House(monkeypatch)
    await house.pair()
    house.hear(told("gpu"))
    house.ended.set()
    await settle()
    known = house.neighbours.find(PEER.fingerprint)
    assert known is not None
    assert known.told is None
    await house.neighbours.close()


async def test_a_connection_that_has_lasted_is_begun_anew_before_a_machine_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    house = House(monkeypatch)
    await house.pair()
    house.hear(told("gpu"))
    house.clock.advance(neighbours.STEADY_S)
    house.ended.set()
    await settle()
    known = house.neighbours.find(PEER.fingerprint)
    assert known is not None
    assert known.told == told("gpu")
    await house.neighbours.close()


async def test_another_name_leaves_a_machine_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where that could not be written, so that who renames it does not know."""
    house = House(monkeypatch)
    await house.pair()
    house.hear(told("gpu"))
    house.neighbours.add(replace(PEER, name="attic"), Pinned(ssl.PROTOCOL_TLS_CLIENT))
    assert house.profiles == {"attic/gpu": 20.0}
    await house.neighbours.close()


async def test_speeds_are_kept_as_long_as_a_machine_has_the_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(monkeypatch)
    await house.pair()
    for words, expected in (
        (told("gpu"), {"desktop/gpu": 20.0}),
        (told("gpu", tps=30.0), {"desktop/gpu": 20.0}),
        (told("npu", tps=30.0), {"desktop/npu": 30.0}),
        (told("gpu", tps=30.0), {"desktop/gpu": 30.0}),
    ):
        house.hear(words)
        assert house.profiles == expected
    await house.neighbours.close()


async def test_a_place_where_a_machine_does_not_answer_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Anyone in the network can say where it is."""
    house = House(monkeypatch)
    await house.pair()
    house.hear(told("gpu"))
    house.neighbours.add(replace(PEER, address="10.0.0.66"), Pinned(ssl.PROTOCOL_TLS_CLIENT))
    await settle()
    assert house.neighbours.linked_at(PEER.fingerprint) == (REACHED_AT, PEER.port)
    assert house.kept[-1] == {"address": REACHED_AT, "port": PEER.port}
    await house.neighbours.close()


async def test_a_machine_is_followed_to_where_it_answers_by_now(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(monkeypatch)
    await house.pair()
    house.hear(told("gpu"))
    house.clock.advance(neighbours.STEADY_S)
    house.places.add("10.0.0.3")
    house.neighbours.add(replace(PEER, address="10.0.0.3"), Pinned(ssl.PROTOCOL_TLS_CLIENT))
    await settle()
    house.hear(told("gpu"))
    assert house.neighbours.linked_at(PEER.fingerprint) == ("10.0.0.3", PEER.port)
    await house.neighbours.close()
