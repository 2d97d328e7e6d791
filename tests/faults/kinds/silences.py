"""Faults of time: an upstream that says nothing more, or a byte now and then."""

import asyncio
from functools import partial

from tests.faults.answers import WORDS
from tests.faults.exchange import Exchange
from tests.faults.kinds.table import add, kind

DRIP_S = 0.4
"""Between two bytes of an upstream that is never done."""
DRIPS = 100


@kind("stall")
async def no_answer(x: Exchange) -> None:
    await x.silence()


@kind("stall", everywhere=True)
async def no_answer_everywhere(x: Exchange) -> None:
    await x.silence()


@kind("stall")
async def stall_in_status_line(x: Exchange) -> None:
    await x.send(b"HTTP/1.1 2")
    await x.silence()


@kind("stall")
async def stall_in_headers(x: Exchange) -> None:
    await x.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/js")
    await x.silence()


@kind("stall")
async def stall_after_head(x: Exchange) -> None:
    await x.head()
    await x.silence()


async def _stall_after(words: int, x: Exchange) -> None:
    await x.begin(words)
    await x.silence()


for _words in (1, 2, 10, 30, len(WORDS)):
    add("stall", f"stall_after_{_words:02d}", partial(_stall_after, _words))


@kind("stall")
async def stall_in_a_frame(x: Exchange) -> None:
    await x.begin(9)
    await x.say(x.frames.words[9][: len(x.frames.words[9]) // 2])
    await x.silence()


@kind("stall")
async def stall_before_last_frame(x: Exchange) -> None:
    await x.head()
    await x.say(*x.frames.opening, *x.frames.words, *x.frames.closing[:-1])
    await x.silence()


@kind("stall", is_harmless=True)
async def stall_after_complete_answer(x: Exchange) -> None:
    """All is said, and HTTP's end does not come."""
    await x.head(chunked=True)
    await x.say(*x.frames.all)
    await x.silence()


@kind("stall")
async def stall_in_error_body(x: Exchange) -> None:
    await x.head("500 Internal Server Error", content_type="application/json", length=500, chunked=False)
    await x.send(b'{"error":')
    await x.silence()


@kind("trickle")
async def trickled_head(x: Exchange) -> None:
    await x.trickle(b"HTTP/1.1 200 OK\r\nContent-Type: " + b"x" * DRIPS, DRIP_S)


@kind("trickle")
async def trickled_first_frame(x: Exchange) -> None:
    await x.head(chunked=False)
    await x.trickle((x.frames.opening + x.frames.words)[0], DRIP_S)
    await x.silence()


@kind("trickle")
async def trickled_later_frame(x: Exchange) -> None:
    await x.head(chunked=False)
    await x.say(*x.frames.opening, *x.frames.words[:12])
    await x.trickle(x.frames.words[12] * DRIPS, DRIP_S)


@kind("trickle", is_harmless=True)
async def every_byte_alone(x: Exchange) -> None:
    """Slow, but it gets there."""
    await x.head(chunked=False)
    await x.say(*x.frames.opening, *x.frames.words[:-3])
    await x.trickle(b"".join((*x.frames.words[-3:], *x.frames.closing))[:300], 0.002)
    await x.send(b"".join((*x.frames.words[-3:], *x.frames.closing))[300:])


async def _beats_for_ever(beat: bytes, words: int, x: Exchange) -> None:
    """Signs of life, and nothing that an answer is made of."""
    await x.head(chunked=False)
    await x.say(*x.frames.opening[:words], *x.frames.words[:words])
    for _ in range(DRIPS):
        await x.send(beat)
        await asyncio.sleep(DRIP_S)


add("trickle", "comments_for_ever", partial(_beats_for_ever, b": ping\n\n", 0), shape="stream")
add("trickle", "blank_lines_for_ever", partial(_beats_for_ever, b"\n", 0))
add("trickle", "blanks_in_mid_answer_for_ever", partial(_beats_for_ever, b"\n", 15), shape="stream")


@kind("trickle", is_harmless=True)
async def pauses_within_bounds(x: Exchange) -> None:
    await x.head()
    await asyncio.sleep(0.4)
    await x.say(*x.frames.opening, *x.frames.words[:20])
    await asyncio.sleep(0.4)
    await x.say(*x.frames.words[20:])
    await asyncio.sleep(0.4)
    await x.say(*x.frames.closing)
    await x.end()
