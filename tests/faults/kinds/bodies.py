"""Faults of the answer's own words: frames that are none, ends that are missing, double or early."""

from functools import partial

from tests.faults.answers import TEXT, WORDS, chunk, dumps, event, line, said
from tests.faults.exchange import Exchange
from tests.faults.kinds.heads import MEGABYTE
from tests.faults.kinds.table import add, kind

AT = 13
"""After how many words a fault in mid-answer comes."""


def framed(x: Exchange, payload: bytes) -> bytes:
    """A payload as a frame of the stream under way."""
    if not x.stream:
        return payload
    return b"data: " + payload + b"\n\n" if x.api == "openai" else payload + b"\n"


async def _cut_at(place: str, x: Exchange) -> None:
    """The stream ends within a frame; HTTP ends as it should."""
    frame = x.frames.words[AT]
    at = {
        "in_character": next(k for k in range(1, len(frame) + 1) if k == len(frame) or frame[k] >= 0x80) + 1,
        "in_json": len(frame) // 2,
        "in_mark": 3,
        "before_brace": len(frame.rstrip()) - 1,
        "before_newline": len(frame.rstrip()),
        "in_newline": len(frame) - 1,
    }[place]
    await x.head(chunked=True)
    await x.say(*x.frames.opening, *x.frames.words[:AT], frame[:at])
    await x.end()


for _place in ("in_character", "in_json", "in_mark", "before_brace", "before_newline", "in_newline"):
    add("cut in a frame", f"cut_{_place}", partial(_cut_at, _place))


async def _cut_end(drop: int, x: Exchange) -> None:
    """The last frame lacks so many bytes of its end."""
    await x.head(chunked=True)
    *others, last = x.frames.all
    await x.say(*others, last[:-drop])
    await x.end()


for _drop in (1, 2, 3, 5):
    add("cut in a frame", f"last_frame_lacks_{_drop}", partial(_cut_end, _drop))


async def _frame(payload: bytes, words: int | None, x: Exchange) -> None:
    """A payload that is no frame: as the whole answer, or after so many words."""
    if words is None:
        await x.reply(framed(x, payload))
        return
    await x.head(chunked=True)
    await x.say(*x.frames.opening[:words], *x.frames.words[:words], framed(x, payload))
    await x.say(*x.frames.words[words:], *x.frames.closing)
    await x.end()


ODD = {
    "null": b"null",
    "list": b"[1,2]",
    "number": b"17",
    "string": b'"hello"',
    "true": b"true",
    "nan": b"NaN",
    "two_objects": b'{"a":1}{"b":2}',
    "half_json": b'{"choices":[{"index":0,"delta":{"content":" w',
    "not_json": b"this is not json at all",
    "deep": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "invalid_utf8": b'{"model":"\xff\xfe\xc0\x80"}',
    "raw_control": b'{"model":"a\x01\x02"}',
}
for _name, _payload in ODD.items():
    for _where, _words in (("answer", None), ("at_once", 0), ("later", AT)):
        add(
            "odd frames",
            f"{_name}_{_where}",
            partial(_frame, _payload, _words),
            shape="stream" if _words is not None else "",
        )


async def _glued(x: Exchange) -> None:
    """Two frames without a newline between them."""
    await x.begin(AT)
    first, second = x.frames.words[AT : AT + 2]
    await x.say(first.rstrip(b"\n") + second, *x.frames.words[AT + 2 :], *x.frames.closing)
    await x.end()


add("odd frames", "glued", _glued, shape="stream")


async def _with_choice(choice: object, x: Exchange) -> None:
    """A frame in mid-answer whose fields have other types than they should."""
    await x.begin(AT)
    frame = {**chunk(x.model, {}), "choices": choice} if x.api == "openai" else {**said(x.model, ""), "message": choice}
    await x.say(event(frame) if x.api == "openai" else line(frame), *x.frames.words[AT:], *x.frames.closing)
    await x.end()


FIELDS: dict[str, object] = {
    "choices_string": "hello",
    "choices_number": 5,
    "content_number": [{"index": 0, "delta": {"content": 5}}],
    "content_list": [{"index": 0, "delta": {"content": [1, 2]}}],
    "delta_string": [{"index": 0, "delta": "hello"}],
    "choices_null": None,
    "choices_empty": [],
    "choices_nested": [[[{"index": 0, "delta": {"content": []}}]]],
    "choices_object": {"index": 0, "delta": 5},
    "delta_null": [{"index": 0, "delta": None}],
    "delta_missing": [{"index": 0}],
    "content_object": [{"index": 0, "delta": {"content": {"a": 1}}}],
    "content_true": [{"index": 0, "delta": {"content": True}}],
    "index_text": [{"index": "0", "delta": {"content": ""}}],
    "index_null": [{"index": None, "delta": {"content": ""}}],
    "role_number": [{"index": 0, "delta": {"role": 7, "content": ""}}],
    "calls_object": [{"index": 0, "delta": {"content": "", "tool_calls": {}}}],
    "calls_text": [{"index": 0, "delta": {"content": "", "tool_calls": "none"}}],
    "logprobs_text": [{"index": 0, "delta": {"content": ""}, "logprobs": "no"}],
}
_TEXT_ALONE = {"choices_string", "delta_string"}  # a message of Ollama's, or a delta, may be its text alone
for _name, _choice in FIELDS.items():
    _texts = (TEXT, "".join((*WORDS[:AT], "hello", *WORDS[AT:]))) if _name in _TEXT_ALONE else ()
    add("odd frames", _name, partial(_with_choice, _choice), texts=_texts, shape="stream")


async def _torn(size: int, then: bytes, x: Exchange) -> None:
    """A frame in mid-answer of which only a part came, and the stream goes on: its word alone is lost."""
    await x.begin(AT)
    frame = framed(x, x.frames.words[AT].removeprefix(b"data: ").rstrip()[:size] + then)
    await x.say(frame, *x.frames.words[AT + 1 :], *x.frames.closing)
    await x.end()


for _name, _size, _then in (
    ("first_byte", 1, b""),
    ("in_first_key", 5, b""),
    ("in_names", 40, b""),
    ("before_end", -1, b""),
    ("in_words", -20, b""),
    ("with_noise", -20, b"\xff\x00\x01"),
    ("with_newline", -20, b"\nx"),
):
    add(
        "torn frames",
        f"torn_{_name}",
        partial(_torn, _size, _then),
        is_harmless=True,
        texts=("".join((*WORDS[:AT], *WORDS[AT + 1 :])),),
        shape="stream",
    )


async def _replaced(old: bytes, new: bytes, x: Exchange) -> None:
    """An answer in which some bytes are others."""
    data = b"".join(x.frames.all)
    await x.head(chunked=True)
    await x.say(data.replace(old, new))
    await x.end()


SURROGATE = TEXT.replace("🙂", "\ud83d")
add(
    "odd values",
    "half_surrogates",
    partial(_replaced, "🙂".encode(), b"\\ud83d"),
    texts=(SURROGATE, SURROGATE.replace("\ud83d", "\ufffd")),
)
add("odd values", "escaped_characters", partial(_replaced, "🙂".encode(), b"\\ud83d\\ude42"), is_harmless=True)
add("odd values", "nul_character", partial(_replaced, "🙂".encode(), b"\\u0000"), texts=(TEXT.replace("🙂", "\0"),))
add(
    "odd values",
    "broken_utf8",
    partial(_replaced, "🙂".encode(), b"\xf0\x9f\x99"),
    texts=(TEXT.replace("🙂", "\ufffd"),),
)
add(
    "odd values",
    "overlong_utf8",
    partial(_replaced, "é".encode(), b"\xc1\xa9"),
    texts=(TEXT.replace("é", "\ufffd\ufffd"),),
)
add("odd values", "tokens_1e999", partial(_replaced, b":60", b":1e999"))
add("odd values", "tokens_huge", partial(_replaced, b":60", b":" + b"9" * 400), is_harmless=True)
add("odd values", "tokens_negative", partial(_replaced, b":60", b":-60"), is_harmless=True)
add("odd values", "tokens_text", partial(_replaced, b":60", b':"sixty"'), is_harmless=True)
add("odd values", "tokens_null", partial(_replaced, b":60", b":null"), is_harmless=True)
add("odd values", "tokens_nan", partial(_replaced, b":60", b":NaN"))
add("odd values", "usage_missing", partial(_replaced, b'"usage"', b'"used"'), is_harmless=True)
add("odd values", "extra_fields", partial(_replaced, b'"model"', b'"x":[1,{"y":null}],"model"'), is_harmless=True)
add("odd values", "double_keys", partial(_replaced, b'"model"', b'"created":1,"created":2,"model"'), is_harmless=True)
add("odd values", "id_number", partial(_replaced, b'"chatcmpl-up"', b"5"))
add("odd values", "created_text", partial(_replaced, b'"created":', b'"created":"x","made":'))
add("odd values", "date_number", partial(_replaced, b'"created_at":"', b'"created_at":5,"made":"'))
add("odd values", "usage_text", partial(_replaced, b'"usage":', b'"usage":"x","used":'))
add("odd values", "model_null", partial(_replaced, b'"model":"', b'"model":null,"other":"'))
add("odd values", "numbers_as_text", partial(_replaced, b":7", b':"7"'))
add("odd values", "index_as_text", partial(_replaced, b'"index":0', b'"index":"0"'))
add("odd values", "index_missing", partial(_replaced, b'"index":0,', b""))
add("odd values", "done_as_text", partial(_replaced, b'"done":false', b'"done":"false"'))
add("odd values", "role_missing", partial(_replaced, b'"role":"assistant",', b""), is_harmless=True)
add("odd values", "errors_empty", partial(_replaced, b'"model"', b'"error":{},"model"'))
add("odd values", "finish_null", partial(_replaced, b'"stop"', b"null"))
add("odd values", "finish_number", partial(_replaced, b'"stop"', b"5"))
add("odd values", "finish_unknown", partial(_replaced, b'"stop"', b'"eos_token"'))
add("odd values", "blanks_in_json", partial(_replaced, b'"model":', b'  "model" \t:  '), is_harmless=True)


async def _with_large(size: int, is_blank: bool, x: Exchange) -> None:
    """A frame of many megabytes in mid-answer."""
    await x.begin(AT)
    frame = x.frames.words[AT]
    at = frame.index(b'"model"')
    filling = b" " * size if is_blank else b'"x":"' + b"a" * size + b'",'
    await x.say(frame[:at] + filling + frame[at:])
    await x.say(*x.frames.words[AT + 1 :], *x.frames.closing)
    await x.end()


add("large frames", "frame_of_20_mb", partial(_with_large, 20 * MEGABYTE, False), is_heavy=True, shape="stream")
add("large frames", "frame_of_70_mb", partial(_with_large, 70 * MEGABYTE, False), is_heavy=True, shape="stream")
add("large frames", "blanks_of_20_mb", partial(_with_large, 20 * MEGABYTE, True), is_heavy=True, shape="stream")
add("large frames", "frame_of_1_mb", partial(_with_large, MEGABYTE, False), shape="stream", is_harmless=True)


@kind("large frames", is_heavy=True, shape="whole")
async def whole_of_20_mb(x: Exchange) -> None:
    """Any answer in one piece may be so long; a frame of a stream may not."""
    await x.reply(b"".join(x.frames.all).replace(b'"model"', b'"x":"' + b"a" * 20 * MEGABYTE + b'","model"', 1))


async def _lines(separator: bytes, before: bytes, x: Exchange) -> None:
    """The frames of a stream as other servers write their ends."""
    await x.head(chunked=True)
    for piece in x.frames.all:
        await x.say(before + piece.replace(b"\n", separator) if x.stream else piece)
    await x.end()


add("other frames", "crlf_lines", partial(_lines, b"\r\n", b""), is_harmless=True)
add("other frames", "blank_lines_between", partial(_lines, b"\n", b"\n"), is_harmless=True)


@kind("other frames", is_harmless=True, shape="stream")
async def comments_and_fields(x: Exchange) -> None:
    """All that SSE allows: comments, ids, names of events, no blank after the colon, data in several lines."""
    await x.head(chunked=True)
    for piece in x.frames.all:
        event = b": beat\n\nid: 1\nretry: 5\ndata:" + piece.removeprefix(b"data: ")
        await x.say(event if x.api == "openai" else piece)
    await x.end()


@kind("other frames", shape="stream")
async def data_in_two_lines(x: Exchange) -> None:
    await x.head(chunked=True)
    await x.say(
        *(piece.replace(b',"model"', b',\ndata: "model"') if x.api == "openai" else piece for piece in x.frames.all)
    )
    await x.end()


@kind("other frames", shape="stream")
async def carriage_returns_alone(x: Exchange) -> None:
    await x.head(chunked=True)
    await x.say(*(piece.replace(b"\n", b"\r") for piece in x.frames.all))
    await x.end()


async def _ends(shape: str, x: Exchange) -> None:
    """Marks of the end that are missing, double, early or followed by something."""
    words, (*others, done) = x.frames.words, x.frames.closing
    more = framed(x, dumps(chunk(x.model, {"content": " more"}) if x.api == "openai" else said(x.model, " more")))
    failed = framed(x, dumps({"error": {"message": "it failed"}} if x.api == "openai" else {"error": "it failed"}))
    pieces = {
        "no_done": (*words, *others),
        "no_finish": (*words, done),
        "double_done": (*words, *others, done, done),
        "double_end": (*words, *others, done, *others, done),
        "early_done": (*words[:AT], done, *words[AT:], *others, done),
        "early_end": (*words[:AT], *others, done, *words[AT:], *others, done),
        "text_after": (*words, *others, done, more),
        "text_before_done": (*words, *others, more, done),
        "error_after": (*words, *others, done, failed),
        "error_before_done": (*words, *others, failed, done),
        "error_instead_of_done": (*words, *others, failed),
        "nonsense_after": (*words, *others, done, b"this is not json\n\n"),
        "half_frame_after": (*words, *others, done, framed(x, b'{"choi')[:8]),
        "null_after": (*words, *others, done, framed(x, b"null")),
        "beats_after": (*words, *others, done, b": bye\n\n" if x.api == "openai" else b"\n\n"),
        "no_words": (*others, done),
        "nothing_but_done": (done,),
    }[shape]
    await x.head(chunked=True)
    await x.say(*x.frames.opening, *pieces)
    await x.end()


EARLY = "".join(WORDS[:AT])
MARKS: dict[str, dict[str, object]] = {
    "no_done": {},
    "no_finish": {},
    "double_done": {"is_harmless": True},
    "double_end": {"is_harmless": True},
    "early_done": {"texts": (EARLY,)},
    "early_end": {"texts": (EARLY,)},
    "text_after": {"is_harmless": True},
    "text_before_done": {"texts": (TEXT + " more",)},
    "error_after": {"is_harmless": True},
    "error_before_done": {},
    "error_instead_of_done": {},
    "nonsense_after": {"is_harmless": True},
    "half_frame_after": {"is_harmless": True},
    "null_after": {"is_harmless": True},
    "beats_after": {"is_harmless": True},
    "no_words": {"texts": ("",)},
    "nothing_but_done": {"texts": ("",)},
}
for _mark, _flags in MARKS.items():
    add("ends", f"end_{_mark}", partial(_ends, _mark), shape="stream", **_flags)


async def _two_answers(gap: bytes, x: Exchange) -> None:
    await x.reply(b"".join(x.frames.all) + gap + b"".join(x.frames.all))


add("ends", "answer_twice", partial(_two_answers, b""), shape="whole")
add("ends", "answer_twice_in_lines", partial(_two_answers, b"\n"), shape="whole")


@kind("ends", is_harmless=True, shape="whole")
async def blanks_around_answer(x: Exchange) -> None:
    await x.reply(b"\n \r\n" + b"".join(x.frames.all) + b"\n\n\n")


@kind("ends", shape="whole")
async def rubbish_after_answer(x: Exchange) -> None:
    await x.reply(b"".join(x.frames.all) + b"</html>")


@kind("ends", shape="whole")
async def answer_without_choices(x: Exchange) -> None:
    await x.reply(dumps({"id": "x", "object": "chat.completion", "model": x.model, "choices": []}))


@kind("ends", shape="whole")
async def answer_without_message(x: Exchange) -> None:
    await x.reply(
        dumps({"id": "x", "model": x.model, "choices": [{"index": 0, "finish_reason": "stop"}], "done": True})
    )


@kind("ends", shape="whole")
async def answer_not_done(x: Exchange) -> None:
    await x.reply(b"".join(x.frames.all).replace(b'"done":true', b'"done":false').replace(b'"stop"', b"null"))


@kind("control", is_harmless=True)
async def no_fault(x: Exchange) -> None:
    """To see that the suite itself sees a whole answer."""
    await x.answer()
