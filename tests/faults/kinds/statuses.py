"""Faults that engines tell by a status or by an error object."""

from functools import partial

from tests.faults.answers import chunk, dumps, event, line, said
from tests.faults.exchange import Exchange
from tests.faults.kinds.heads import HTML, MEGABYTE
from tests.faults.kinds.table import add, kind


def error_of(api: str, words: str) -> bytes:
    """An engine's error body."""
    return dumps(
        {"error": {"message": words, "type": "server_error", "code": None}} if api == "openai" else {"error": words}
    )


async def _status(status: str, headers: tuple[str, ...], words: str, x: Exchange) -> None:
    await x.reply(error_of(x.api, words), status, *headers, content_type="application/json")


ROWS: tuple[tuple[str, str, tuple[str, ...], str], ...] = (
    ("key_rejected", "401 Unauthorized", (), "invalid api key"),
    ("no_credit", "402 Payment Required", (), "insufficient credit"),
    ("forbidden", "403 Forbidden", (), "this key may not use this model"),
    ("model_gone", "404 Not Found", (), "model not found, try pulling it first"),
    ("no_such_method", "405 Method Not Allowed", (), "method not allowed"),
    ("request_timeout", "408 Request Timeout", (), "the request took too long"),
    ("not_loaded", "409 Conflict", (), "model is not loaded"),
    ("gone", "410 Gone", (), "gone"),
    ("teapot", "418 I'm a teapot", (), "short and stout"),
    ("too_early", "425 Too Early", (), "too early"),
    ("busy_429", "429 Too Many Requests", (), "too many requests"),
    ("busy_429_later", "429 Too Many Requests", ("Retry-After: 2",), "too many requests"),
    ("busy_429_nonsense", "429 Too Many Requests", ("Retry-After: soon",), "too many requests"),
    ("failed_500", "500 Internal Server Error", (), "CUDA error: out of memory"),
    ("not_implemented", "501 Not Implemented", (), "this is not supported"),
    ("bad_gateway", "502 Bad Gateway", (), "no upstream"),
    ("loading_503", "503 Service Unavailable", (), "Loading model"),
    ("busy_503_later", "503 Service Unavailable", ("Retry-After: 3",), "no slot available"),
    ("busy_503_date", "503 Service Unavailable", ("Retry-After: Wed, 21 Oct 2099 07:28:00 GMT",), "busy"),
    ("busy_503_for_ages", "503 Service Unavailable", ("Retry-After: 99999999999999999999",), "busy"),
    ("gateway_timeout", "504 Gateway Timeout", (), "upstream timed out"),
    ("no_storage", "507 Insufficient Storage", (), "no space left"),
    ("overloaded_529", "529 Overloaded", (), "overloaded"),
    ("status_599", "599 Whatever", (), "whatever"),
    ("context_too_small", "400 Bad Request", (), "the request exceeds the available context size, try increasing it"),
)
for _name, _line, _headers, _words in ROWS:
    add("statuses", _name, partial(_status, _line, _headers, _words))
add("statuses", "busy_everywhere", partial(_status, *ROWS[10][1:]), everywhere=True)
add("statuses", "failed_everywhere", partial(_status, *ROWS[13][1:]), everywhere=True)
add("statuses", "bad_field", partial(_status, "400 Bad Request", (), "invalid value for 'top_p'"), is_clients=True)
add("statuses", "unprocessable", partial(_status, "422 Unprocessable Entity", (), "messages.0: wrong"), is_clients=True)


async def _raw_error(body: bytes, content_type: str | None, x: Exchange) -> None:
    await x.reply(body, "500 Internal Server Error", content_type=content_type)


RAW = {
    "error_html": (HTML, "text/html"),
    "error_empty": (b"", None),
    "error_binary": (bytes(range(256)) * 8, "application/octet-stream"),
    "error_escapes": (b"\x1b]0;pwn\x07\x1b[2J \xe2\x80\xae broken", "text/plain"),
    "error_null": (b"null", "application/json"),
    "error_list": (b'[{"error":"x"}]', "application/json"),
    "error_number": (b'{"error":5}', "application/json"),
    "error_half_json": (b'{"error":{"message":"x', "application/json"),
    "error_surrogate": (b'{"error":{"message":"\\ud83d"}}', "application/json"),
    "error_deep": (b'{"error":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "application/json"),
}
for _name, (_body, _type) in RAW.items():
    add("error bodies", _name, partial(_raw_error, _body, _type))
add("error bodies", "error_large", partial(_raw_error, b"e" * 10 * MEGABYTE, "text/plain"), is_heavy=True)


@kind("error bodies")
async def error_body_reset(x: Exchange) -> None:
    await x.head("500 Internal Server Error", content_type="application/json", length=500, chunked=False)
    await x.send(b'{"error":')
    await x.reset()


@kind("error bodies")
async def error_body_closed(x: Exchange) -> None:
    await x.head("503 Service Unavailable", "Retry-After: 1", length=500, chunked=False)
    await x.send(b'{"error":')


async def _redirect(status: int, target: str, x: Exchange) -> None:
    await x.head(f"{status} Elsewhere", f"Location: {target}", length=0, chunked=False)
    x.keeps = True


for _code, _target in (
    (301, "/"),
    (302, "http://127.0.0.1:1/"),
    (303, "/login"),
    (307, ""),
    (308, "http://169.254.169.254/"),
):
    add("redirects", f"redirect_{_code}", partial(_redirect, _code, _target))
add("redirects", "not_modified", partial(_redirect, 304, "/"))
add("redirects", "multiple_choices", partial(_redirect, 300, "/"))

OBJECTS: dict[str, object] = {
    "object": {"message": "CUDA error: device lost", "type": "server_error", "code": 500},
    "sentence": "llama runner process has terminated: exit status 2",
    "nested": {"error": {"message": "deep inside"}},
    "empty": {},
    "true": True,
    "number": 500,
}


async def _error_object(error: object, words: int | None, x: Exchange) -> None:
    """An error with status 200: alone, or after so many words."""
    body = dumps({"error": error})
    if not x.stream or words is None:
        await x.reply(body, content_type="application/json")
        return
    await x.head()
    frame = event({"error": error}) if x.api == "openai" else body + b"\n"
    await x.say(*x.frames.opening[:words], *x.frames.words[:words], frame)
    await x.end()


for _name, _error in OBJECTS.items():
    add("errors in a 200", f"error_{_name}_as_answer", partial(_error_object, _error, None))
    add("errors in a 200", f"error_{_name}_at_once", partial(_error_object, _error, 0), shape="stream")
    add("errors in a 200", f"error_{_name}_later", partial(_error_object, _error, 17), shape="stream")


async def _words_of_failure(body: object, x: Exchange) -> None:
    await x.reply(dumps(body), content_type="application/json")


add("errors in a 200", "detail_as_answer", partial(_words_of_failure, {"detail": "Not Found"}))
add("errors in a 200", "message_as_answer", partial(_words_of_failure, {"object": "error", "message": "it failed"}))
add("errors in a 200", "empty_object", partial(_words_of_failure, {}))


@kind("errors in a 200", shape="stream")
async def error_event(x: Exchange) -> None:
    """SSE's own kind of event for errors, as some servers have it."""
    await x.begin(8)
    await x.say(b"event: error\ndata: " + error_of(x.api, "it failed") + b"\n\n")
    await x.end()


@kind("errors in a 200", is_harmless=True)
async def errors_null(x: Exchange) -> None:
    """Each frame has an error, which is null."""
    await x.head(chunked=True)
    await x.say(*(piece.replace(b'"model"', b'"error":null,"model"') for piece in x.frames.all))
    await x.end()


@kind("errors in a 200", shape="stream")
async def error_and_done(x: Exchange) -> None:
    """It fails in mid-answer and then says that it is done."""
    await x.begin(11)
    frame = event({"error": {"message": "it failed"}}) if x.api == "openai" else line({"error": "it failed"})
    await x.say(frame, *x.frames.closing)
    await x.end()


@kind("errors in a 200", shape="stream")
async def error_within_a_frame(x: Exchange) -> None:
    """The frame that has the error has words too."""
    await x.begin(6)
    words = chunk(x.model, {"content": x.frames.words[6].decode(errors="ignore")[:3]})
    frame = (
        event({**words, "error": {"message": "it failed"}})
        if x.api == "openai"
        else line({**said(x.model, " w"), "error": "no"})
    )
    await x.say(frame)
    await x.end()
