"""Faults of connections: refused, reset, closed, at each stage of an answer."""

from functools import partial

from tests.faults.exchange import Exchange
from tests.faults.kinds.table import Port, add, kind


async def _never(x: Exchange) -> None:
    """Nobody comes here: the port is the fault."""
    await x.answer()


add("refused", "refused", _never, port=Port.CLOSED)
add("refused", "refused_everywhere", _never, port=Port.CLOSED, everywhere=True)
add("refused", "queue_full", _never, port=Port.FULL)
add("refused", "reset_at_accept", _never, port=Port.RESETS)


@kind("before the head")
async def reset_before_head(x: Exchange) -> None:
    await x.reset()


@kind("before the head")
async def closed_before_head(x: Exchange) -> None:
    """The connection ends without a word."""


@kind("before the head", everywhere=True)
async def closed_everywhere(x: Exchange) -> None:
    """No backend says a word."""


HEADS = {
    "status_line": b"HTTP/1.1 20",
    "header_name": b"HTTP/1.1 200 OK\r\nContent-Ty",
    "header_value": b"HTTP/1.1 200 OK\r\nContent-Type: application/js",
    "header_end": b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n",
}


async def _part_of_head(part: bytes, ending: str, x: Exchange) -> None:
    await x.send(part)
    if ending == "reset":
        await x.reset()


for _name, _part in HEADS.items():
    for _ending in ("reset", "closed"):
        add("before the head", f"{_ending}_in_{_name}", partial(_part_of_head, _part, _ending))


@kind("after the head")
async def reset_after_head(x: Exchange) -> None:
    await x.head()
    await x.reset()


@kind("after the head")
async def closed_after_head(x: Exchange) -> None:
    await x.head()


@kind("after the head")
async def ended_after_head(x: Exchange) -> None:
    """A proper end of a body in which nothing is."""
    await x.head(chunked=True)
    await x.end()


async def _reset_after(words: int, x: Exchange) -> None:
    await x.begin(words)
    await x.reset()


async def _closed_after(words: int, x: Exchange) -> None:
    await x.begin(words)


async def _ended_after(words: int, x: Exchange) -> None:
    """HTTP's end is right, the answer's is missing."""
    await x.head(chunked=True)
    await x.say(*x.frames.opening, *x.frames.words[:words])
    await x.end()


for _words in range(51):
    add("reset after n chunks", f"reset_after_{_words:02d}", partial(_reset_after, _words))
for _words in (0, 1, 2, 25, 60):
    add("closed after n chunks", f"closed_after_{_words:02d}", partial(_closed_after, _words))
    add("closed after n chunks", f"ended_after_{_words:02d}", partial(_ended_after, _words))
add("closed after n chunks", "reset_after_60", partial(_reset_after, 60))


async def _without_length(words: int, x: Exchange) -> None:
    """Only the end of the connection ends such a body, so nothing but the answer itself tells that it is cut."""
    await x.head(chunked=False)
    await x.say(*x.frames.opening, *x.frames.words[:words])


for _words in (0, 1, 30, 60):
    add("closed after n chunks", f"without_length_cut_after_{_words:02d}", partial(_without_length, _words))


@kind("reuse", is_harmless=True, warms=True)
async def closed_at_reuse(x: Exchange) -> None:
    """A kept connection is closed at the moment at which it is used again; a new one works."""
    if x.connection.served == 1:
        await x.answer()


@kind("reuse", is_harmless=True, warms=True)
async def reset_at_reuse(x: Exchange) -> None:
    if x.connection.served == 1:
        await x.answer()
    else:
        await x.reset()


@kind("reuse", warms=True)
async def closed_from_reuse_on(x: Exchange) -> None:
    """After the first answer no connection is any good."""
    if x.nth == 1:
        await x.answer()


@kind("reuse", warms=True)
async def head_cut_at_reuse(x: Exchange) -> None:
    if x.connection.served == 1 and x.nth == 1:
        await x.answer()
    else:
        await x.send(b"HTTP/1.1 200 OK\r\nContent-")


@kind("reuse", warms=True)
async def cut_after_reuse(x: Exchange) -> None:
    if x.nth == 1:
        await x.answer()
    else:
        await x.begin(12)
        await x.reset()


@kind("reuse", is_harmless=True)
async def closed_after_kept_answer(x: Exchange) -> None:
    """It says that it keeps the connection, and closes it."""
    await x.head("200 OK", "Connection: keep-alive")
    await x.say(*x.frames.all)
    await x.end()
    x.keeps = False


@kind("flapping")
async def fails_at_first(x: Exchange) -> None:
    if x.nth > 1:
        await x.answer()


@kind("flapping", warms=True)
async def fails_every_second_time(x: Exchange) -> None:
    if x.nth % 2:
        await x.answer()
    else:
        await x.reset()


@kind("flapping", warms=True)
async def breaks_every_second_time(x: Exchange) -> None:
    if x.nth % 2:
        await x.answer()
    else:
        await x.begin(20)
        await x.reset()
