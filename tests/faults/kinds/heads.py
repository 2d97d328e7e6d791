"""Faults of HTTP itself: heads, lengths, chunks, types and encodings."""

import gzip
import zlib
from functools import partial

from tests.faults.answers import TEXT, WORDS
from tests.faults.exchange import Exchange
from tests.faults.kinds.table import add, kind

HTML = b"<!DOCTYPE html><html><body><h1>502 Bad Gateway</h1><p>nginx</p></body></html>"
MEGABYTE = 1 << 20


async def _says(data: bytes, x: Exchange) -> None:
    """These bytes instead of an answer."""
    await x.send(data)


NO_HTTP = {
    "not_http": b"hello, is it me you are looking for?\r\n\r\n",
    "http_9": b"HTTP/9.9 200 OK\r\nContent-Length: 0\r\n\r\n",
    "tls_alert": b"\x15\x03\x01\x00\x02\x02\x46",
    "random_bytes": bytes(range(256)) * 4,
    "status_word": b"HTTP/1.1 fine OK\r\nContent-Length: 0\r\n\r\n",
    "status_negative": b"HTTP/1.1 -1 OK\r\nContent-Length: 0\r\n\r\n",
    "status_099": b"HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
    "status_999": b"HTTP/1.1 999 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
    "header_without_colon": b"HTTP/1.1 200 OK\r\nContent-Type application/json\r\n\r\n",
    "header_with_nul": b"HTTP/1.1 200 OK\r\nX-A: a\0b\r\nContent-Length: 0\r\n\r\n",
    "header_name_with_blank": b"HTTP/1.1 200 OK\r\nX A: b\r\nContent-Length: 0\r\n\r\n",
    "two_heads": b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    "http_0_9": b'{"choices":[]}',
}
for _name, _data in NO_HTTP.items():
    add("heads", _name, partial(_says, _data))


async def _with_headers(lines: tuple[str, ...], x: Exchange) -> None:
    """An answer whose framing is told by these headers."""
    await x.head("200 OK", *lines, chunked=False)
    await x.say(*x.frames.all)


FRAMING = {
    "length_negative": ("Content-Length: -5",),
    "length_word": ("Content-Length: many",),
    "lengths_differ": ("Content-Length: 10", "Content-Length: 9000"),
    "length_and_chunks": ("Content-Length: 10", "Transfer-Encoding: chunked"),
    "gzip_then_chunked": ("Transfer-Encoding: gzip, chunked",),
    "unknown_transfer": ("Transfer-Encoding: rot13",),
    "chunks_announced_only": ("Transfer-Encoding: chunked",),
    "encoding_gzip_untrue": ("Content-Encoding: gzip",),
    "encoding_br": ("Content-Encoding: br",),
    "encoding_unknown": ("Content-Encoding: rot13",),
}
for _name, _lines in FRAMING.items():
    add("lengths", _name, partial(_with_headers, _lines))


async def _length(more: int, x: Exchange) -> None:
    """A length that is wrong by so many bytes."""
    size = sum(map(len, x.frames.all))
    await x.head(chunked=False, length=max(0, size + more))
    await x.say(*x.frames.all)


add("lengths", "length_too_long_by_one", partial(_length, 1))
add("lengths", "length_too_long", partial(_length, 500))
add("lengths", "length_too_short_by_one", partial(_length, -1))
add("lengths", "length_too_short", partial(_length, -500))
add("lengths", "length_zero", partial(_length, -(10**9)))


async def _empty(status: str, x: Exchange) -> None:
    await x.head(status, content_type="application/json", length=0, chunked=False)
    x.keeps = True


for _status in ("204 No Content", "205 Reset Content", "206 Partial Content", "200 OK", "202 Accepted"):
    add("lengths", f"empty_{_status[:3]}", partial(_empty, _status))

CHUNKS = {
    "chunk_size_word": b"zz\r\nabc\r\n0\r\n\r\n",
    "chunk_size_negative": b"-5\r\nabcde\r\n0\r\n\r\n",
    "chunk_size_huge": b"ffffffffffffffffff\r\nabc",
    "chunk_size_endless": b"1" * 200_000,
    "chunk_without_end": b"3\r\nabcdef\r\n0\r\n\r\n",
}


async def _bad_chunk(data: bytes, words: int, x: Exchange) -> None:
    await x.head(chunked=True)
    await x.say(*x.frames.opening[:words], *x.frames.words[:words])
    await x.send(data)


for _name, _data in CHUNKS.items():
    add("chunks", f"{_name}_at_once", partial(_bad_chunk, _data, 0))
    add("chunks", f"{_name}_later", partial(_bad_chunk, _data, 14))


async def _chunk_cut(data: bytes, x: Exchange) -> None:
    await x.head(chunked=True)
    await x.say(*x.frames.opening, *x.frames.words[:14])
    await x.send(data)


CUTS = {"size": b"4", "size_end": b"40\r", "data": b"40\r\ndata: {", "data_end": b"2\r\n\n\n", "last": b"0\r\n"}
for _name, _data in CUTS.items():
    add("chunks", f"cut_in_chunk_{_name}", partial(_chunk_cut, _data))


@kind("chunks", is_harmless=True)
async def last_chunk_missing(x: Exchange) -> None:
    """All is said, and the connection ends without HTTP's end."""
    await x.head(chunked=True)
    await x.say(*x.frames.all)


@kind("chunks", is_harmless=True)
async def last_chunk_reset(x: Exchange) -> None:
    await x.head(chunked=True)
    await x.say(*x.frames.all)
    await x.reset()


@kind("chunks")
async def last_chunk_broken(x: Exchange) -> None:
    """All is said; but what comes together with the head of an answer may make it one that is not HTTP."""
    await x.head(chunked=True)
    await x.say(*x.frames.all)
    await x.send(b"zz\r\n\r\n")


@kind("chunks", is_harmless=True)
async def chunk_extensions(x: Exchange) -> None:
    await x.head(chunked=True)
    for piece in x.frames.all:
        await x.send(b"%x;name=value\r\n%b\r\n" % (len(piece), piece))
    await x.send(b"0;last\r\n\r\n")


@kind("chunks", is_harmless=True)
async def trailers(x: Exchange) -> None:
    await x.head(chunked=True)
    await x.say(*x.frames.all)
    await x.send(b"0\r\nX-Trailer: yes\r\nX-More: yes\r\n\r\n")


@kind("chunks", is_harmless=True)
async def chunks_across_frames(x: Exchange) -> None:
    """HTTP's pieces end anywhere, also within characters."""
    await x.head(chunked=True)
    data = b"".join(x.frames.all)
    await x.say(*(data[at : at + 7] for at in range(0, len(data), 7)))
    await x.end()


@kind("chunks", is_harmless=True)
async def words_after_the_end(x: Exchange) -> None:
    """A second answer that nobody asked for follows on the connection."""
    await x.answer()
    await x.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")


@kind("heads", is_heavy=True)
async def endless_headers(x: Exchange) -> None:
    await x.send(b"HTTP/1.1 200 OK\r\n")
    for number in range(2000):
        await x.send(b"X-%d: %b\r\n" % (number, b"a" * 4000))


@kind("heads", is_heavy=True)
async def header_of_a_megabyte(x: Exchange) -> None:
    await x.send(b"HTTP/1.1 200 OK\r\nX-Long: " + b"a" * MEGABYTE + b"\r\n\r\n")


@kind("heads", is_heavy=True)
async def many_headers(x: Exchange) -> None:
    await x.send(b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 50_000 + b"\r\n")


@kind("heads", is_heavy=True)
async def endless_status_line(x: Exchange) -> None:
    await x.send(b"HTTP/1.1 200 " + b"O" * MEGABYTE)


async def _interim(head: bytes, x: Exchange) -> None:
    """Interim answers come before the real one."""
    await x.send(head)
    await x.answer()


add("interim", "continue_first", partial(_interim, b"HTTP/1.1 100 Continue\r\n\r\n"), is_harmless=True)
add("interim", "early_hints", partial(_interim, b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"), is_harmless=True)
add("interim", "many_interim", partial(_interim, b"HTTP/1.1 102 Processing\r\n\r\n" * 20), is_harmless=True)
add("interim", "switching", partial(_interim, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n"))


@kind("interim")
async def continue_and_close(x: Exchange) -> None:
    await x.send(b"HTTP/1.1 100 Continue\r\n\r\n")


@kind("interim", is_heavy=True)
async def interim_for_ever(x: Exchange) -> None:
    for _ in range(200):
        await x.send(b"HTTP/1.1 102 Processing\r\n\r\n")
        await x.beat()
    await x.silence()


TYPES = {
    "type_html": "text/html",
    "type_text": "text/plain",
    "type_bytes": "application/octet-stream",
    "type_image": "image/png",
    "type_nonsense": "\u00e9;;=",
    "type_none": None,
}


async def _typed(content_type: str | None, x: Exchange) -> None:
    await x.head(content_type=content_type)
    await x.say(*x.frames.all)
    await x.end()


for _name, _type in TYPES.items():
    add("types", _name, partial(_typed, _type))


@kind("types", is_harmless=True)
async def type_with_charset(x: Exchange) -> None:
    await x.head(content_type=f"{x.type.title()}; charset=UTF-8")
    await x.say(*x.frames.all)
    await x.end()


@kind("types")
async def html_as_answer(x: Exchange) -> None:
    await x.reply(HTML, content_type="text/html; charset=utf-8")


@kind("types")
async def html_as_json(x: Exchange) -> None:
    await x.reply(HTML)


@kind("types")
async def other_shape(x: Exchange) -> None:
    """A whole answer where a stream was asked for, and the other way round."""
    x.body["stream"] = not x.stream
    await x.ready().answer()


@kind("types")
async def other_dialect(x: Exchange) -> None:
    x.api = "ollama" if x.api == "openai" else "openai"
    await x.ready().answer()


@kind("encodings")
async def gzip_told(x: Exchange) -> None:
    body = gzip.compress(b"".join(x.frames.all))
    await x.reply(body, "200 OK", "Content-Encoding: gzip")


@kind("encodings")
async def gzip_untold(x: Exchange) -> None:
    await x.reply(gzip.compress(b"".join(x.frames.all)))


@kind("encodings")
async def deflate_untold(x: Exchange) -> None:
    await x.reply(zlib.compress(b"".join(x.frames.all)))


@kind("encodings", is_heavy=True)
async def gzip_bomb(x: Exchange) -> None:
    await x.reply(gzip.compress(b"0" * 50 * MEGABYTE), "200 OK", "Content-Encoding: gzip")


@kind("encodings")
async def transfer_gzip(x: Exchange) -> None:
    """A transfer coding that nobody undoes."""
    body = gzip.compress(b"".join(x.frames.all))
    await x.head("200 OK", "Transfer-Encoding: gzip, chunked", chunked=False)
    await x.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))


async def _recoded(encoding: str, x: Exchange) -> None:
    await x.reply(b"".join(x.frames.all).decode().encode(encoding, "replace"))


for _encoding in ("utf-16", "utf-32", "latin-1"):
    _bytes = TEXT.encode(_encoding, "replace")
    _texts = (_bytes.decode(_encoding), _bytes.decode(errors="replace"))
    add("encodings", f"body_in_{_encoding}", partial(_recoded, _encoding), texts=_texts)


@kind("encodings")
async def byte_order_mark(x: Exchange) -> None:
    await x.reply(b"\xef\xbb\xbf" + b"".join(x.frames.all))


@kind("early", prompt_bytes=4 * MEGABYTE)
async def early_error(x: Exchange) -> None:
    """An error before the body was read."""
    await x.reply(b'{"error":{"message":"too busy to read this","type":"server_error"}}', "503 Service Unavailable")
    await x.reset()


@kind("early", prompt_bytes=4 * MEGABYTE)
async def early_reset(x: Exchange) -> None:
    await x.reset()


@kind("early", prompt_bytes=4 * MEGABYTE)
async def early_close(x: Exchange) -> None:
    await x.head()


@kind("early", prompt_bytes=4 * MEGABYTE)
async def early_answer_then_reset(x: Exchange) -> None:
    """Half an answer although the body was not read."""
    await x.begin(len(WORDS) // 2)
    await x.reset()
