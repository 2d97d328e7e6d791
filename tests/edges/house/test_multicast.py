"""What anyone in the network can announce costs a bounded share: a paired machine is looked for at a set pace."""

import asyncio
import time
from typing import Any

import pytest
from zeroconf import ServiceStateChange

from ollama_proxyd.edges.house import multicast
from ollama_proxyd.edges.house.multicast import KIND, NUMBER_CHARACTERS, Multicast, Place

NUMBER, OWN = "a" * NUMBER_CHARACTERS, "b" * NUMBER_CHARACTERS


async def test_a_flood_of_announcements_is_acted_upon_at_a_pace_and_the_last_one_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(multicast, "LOOK_EVERY_S", 0.1)
    heard: list[str] = []
    told, began_s = {"port": 1}, time.monotonic()

    async def hear(number: str, place: Place) -> None:
        assert number == NUMBER
        heard.append(place.address)

    async def resolve(_number: str) -> Place:
        await asyncio.sleep(0.01)
        return Place(f"10.0.0.{told['port']}", told["port"], None)

    ours: Any = Multicast(OWN, 11484, (), lambda number: number == NUMBER, hear)
    monkeypatch.setattr(ours, "_resolve", resolve)
    for port in range(1, 200):
        told["port"] = port
        ours._note(None, KIND, f"{NUMBER}.{KIND}", ServiceStateChange.Updated)
        await asyncio.sleep(0.001)
    async with asyncio.timeout(20):
        while heard[-1] != "10.0.0.199":  # noqa: ASYNC110 - it is told by nothing
            await asyncio.sleep(0.01)
    assert len(heard) <= (time.monotonic() - began_s) / 0.1 + 1
    await asyncio.sleep(0.3)
    count = len(heard)
    ours._note(None, KIND, f"{NUMBER}.{KIND}", ServiceStateChange.Updated)
    await asyncio.sleep(0.05)
    assert len(heard) == count + 1, "what is announced after a while is looked for at once"
    await ours.close()
