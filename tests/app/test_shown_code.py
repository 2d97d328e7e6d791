"""A code is for one machine: who comes beside another is refused, and who could not be kept may try again."""

import asyncio

import pytest

from ollama_proxyd.app.shown_code import ShownCode
from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.house import ATTEMPTS, Peer
from tests.fakes import FakeClock

PEER = Peer("f" * 64, "desktop", "certificate", "10.0.0.1", 11484)


async def test_only_one_machine_uses_a_code() -> None:
    shown = ShownCode(FakeClock())
    assert shown.take()
    assert not shown.take(), "one is being kept"
    shown.end_attempt()
    assert shown.take(), "it could not be kept"
    shown.met = PEER
    shown.end_attempt()
    assert not shown.take(), "it was used"
    async with asyncio.timeout(10):
        assert await shown.used() is PEER


async def test_a_code_that_was_tried_too_often_is_used_by_none() -> None:
    shown = ShownCode(FakeClock())
    for _ in range(ATTEMPTS):
        shown.fail()
    assert not shown.take()
    with pytest.raises(ProxyError, match=f"{ATTEMPTS} wrong codes came"):
        await shown.used()
