"""What a real Ollama 0.33 answered is what these modules read, refuse and write."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Event
from ollama_proxyd.core.fleet import LoadedModel, Model
from ollama_proxyd.core.requests import Hints, Operation, Request
from ollama_proxyd.dialects.framing import ndjson
from ollama_proxyd.dialects.framing.splitter import FrameSplitter
from ollama_proxyd.dialects.ollama.decode import LineDecoder, peek_answer, peek_usage
from ollama_proxyd.dialects.ollama.dialect import Ollama
from ollama_proxyd.dialects.ollama.encode import LineEncoder
from ollama_proxyd.dialects.ollama.errors import not_found, render_error
from ollama_proxyd.dialects.ollama.models import describe, parse_show, render_ps, render_tags, render_version
from ollama_proxyd.dialects.ollama.parse import parse_chat, parse_embed, parse_embeddings, parse_generate

TRANSCRIPT = Path(__file__).parents[2] / "golden" / "ollama-transcript.jsonl"
Case = dict[str, Any]
CASES: dict[str, Case] = {case["case"]: case for case in map(json.loads, TRANSCRIPT.read_text().splitlines())}

PARSERS: dict[str, Callable[[bytes, Hints], object]] = {
    "/api/chat": parse_chat,
    "/api/generate": parse_generate,
    "/api/embed": parse_embed,
    "/api/embeddings": parse_embeddings,
    "/api/show": lambda body, hints: parse_show(body),
}
NOT_FOUND = {"chat-missing", "embed-missing", "show-missing"}
"""Refused because no backend holds the model."""

ENGINES_OWN = {"chat-images", "chat-long", "chat-long-notrunc", "generate-images"}
"""Refused by the engine behind, whose own error goes on as a string."""

KNOWN_BY_THE_FLEET = {"generate-embedmodel": "whether a model only embeds is its backend's to say"}

OURS = {"created_at", "total_duration"}
"""Told by our own clock when an answer is translated."""

NOT_TRANSLATED = {"context": "tokens of the conversation so far, which no other engine gives"}


def body_of(case: Case) -> bytes:
    asked = case["request"]
    if asked is None:
        return b""
    return asked.encode() if isinstance(asked, str) else json.dumps(asked).encode()


def native(*statuses: int) -> list[str]:
    return [name for name, case in CASES.items() if case["path"] in PARSERS and case["response"]["status"] in statuses]


def answered(name: str) -> tuple[Request, str]:
    request = PARSERS[CASES[name]["path"]](body_of(CASES[name]), Hints())
    assert isinstance(request, Request)
    return request, CASES[name]["response"]["body"]


ANSWERS = [name for name in native(200) if CASES[name]["path"] != "/api/show"]
REFUSALS = [name for name in native(400, 404, 500) if name not in NOT_FOUND | ENGINES_OWN | set(KNOWN_BY_THE_FLEET)]


def decoded(request: Request, body: str) -> list[Event]:
    if not request.stream:
        return Ollama().decode_answer(request, body.encode())
    splitter, decoder = FrameSplitter(ndjson.ENDS), LineDecoder()
    text = body.encode()
    events = [event for at in range(0, len(text), 97) for event in decoder.feed(splitter.feed(text[at : at + 97]))]
    return [*events, decoder.finish()]


def kept(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name not in OURS | set(NOT_TRANSLATED)}


def test_the_transcript_has_the_cases_that_these_tests_are_about() -> None:
    assert len(ANSWERS) == 31
    assert len(REFUSALS) == 14


OTHER_WORDS = {
    "show-badjson": "the body is not valid JSON: Input data was truncated",
    "generate-badjson": "the body is not valid JSON: Input data was truncated",
    "chat-badjson": "the body is not valid JSON: invalid character (byte 4)",
    "chat-badmessages": "invalid value for 'messages': expected an array or null, got a string",
}
"""What Go's JSON parser is not imitated in."""


@pytest.mark.parametrize("name", REFUSALS)
def test_a_wrong_request_is_refused_with_ollamas_status_and_words_but_for_its_parsers(name: str) -> None:
    with pytest.raises(ProxyError) as caught:
        PARSERS[CASES[name]["path"]](body_of(CASES[name]), Hints())
    status, body = render_error(caught.value)
    assert status == CASES[name]["response"]["status"]
    assert json.loads(body)["error"] == OTHER_WORDS.get(name, json.loads(CASES[name]["response"]["body"])["error"])


@pytest.mark.parametrize("name", sorted(NOT_FOUND))
def test_a_missing_model_is_told_first_in_ollamas_words(name: str) -> None:
    endpoint = CASES[name]["path"].rpartition("/")[2]
    error = ProxyError(ErrorKind.MODEL_NOT_FOUND, "model is not here; available: tiny")
    status, body = render_error(not_found(endpoint, CASES[name]["request"]["model"], error))
    assert status == CASES[name]["response"]["status"]
    assert json.loads(body)["error"] == json.loads(CASES[name]["response"]["body"])["error"] + "; available: tiny"


@pytest.mark.parametrize("name", sorted(ENGINES_OWN))
def test_an_engines_own_error_is_passed_on_as_ollama_passes_it(name: str) -> None:
    answer = CASES[name]["response"]
    kind = ErrorKind.UPSTREAM_REJECTED if answer["status"] < 500 else ErrorKind.UPSTREAM_FAILED
    error = ProxyError(kind, "x", status=answer["status"], detail=json.loads(answer["body"])["error"])
    status, body = render_error(error)
    assert json.loads(body) == json.loads(answer["body"])
    assert status == (answer["status"] if answer["status"] < 500 else 502), "an engine's failure is not ours"


@pytest.mark.parametrize("name", native(200))
def test_a_right_request_is_taken_and_can_be_read_in_full(name: str) -> None:
    read = PARSERS[CASES[name]["path"]](body_of(CASES[name]), Hints())
    if isinstance(read, Request):
        read.content()


@pytest.mark.parametrize("name", ANSWERS)
def test_whether_an_answer_streams_is_known_from_the_request(name: str) -> None:
    request, _ = answered(name)
    told = CASES[name]["response"]["headers"]["content-type"]
    assert told == (Ollama.stream_type if request.stream else Ollama.whole_type)


@pytest.mark.parametrize("name", ANSWERS)
def test_reading_an_answer_and_writing_it_again_loses_nothing(name: str) -> None:
    request, body = answered(name)
    events = decoded(request, body)
    encoder = LineEncoder(request, created_at=lambda: "now", elapsed_ns=lambda: 1)
    written = b"".join(map(encoder.encode, events)) if request.stream else encoder.whole(events)
    want = [kept(json.loads(line)) for line in body.splitlines()]
    assert [kept(json.loads(line)) for line in written.splitlines()] == want
    timed = "total_duration" in json.loads(body.splitlines()[-1])
    assert ("total_duration" in json.loads(written.splitlines()[-1])) is timed


@pytest.mark.parametrize("name", ANSWERS)
def test_the_end_of_an_answer_tells_the_same_as_reading_it_all(name: str) -> None:
    request, body = answered(name)
    lines = body.count("\n")
    ending = peek_usage(body.encode(), lines) if request.stream else peek_answer(body.encode())
    assert ending.complete
    assert ending.finished == decoded(request, body)[-1]


def shape(value: object) -> object:
    """The keys and types of a value, as the conformance replay compares them."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in sorted(value.items()) if key != "backends"}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def test_the_lists_have_ollamas_shape_but_for_the_backends_that_hold_each_model() -> None:
    tags, ps = (json.loads(CASES[name]["response"]["body"]) for name in ("tags", "ps"))
    entry, detail = tags["models"][0], tags["models"][0]["details"]
    model = Model(
        name=entry["name"],
        size_bytes=entry["size"],
        digest=entry["digest"],
        modified_at=entry["modified_at"],
        family=detail["family"],
        parameter_size=detail["parameter_size"],
        quantization=detail["quantization_level"],
        format=detail["format"],
        context_length=detail["context_length"],
        embedding_length=detail["embedding_length"],
        capabilities=frozenset(entry["capabilities"]),
    )
    written = json.loads(render_tags([(model, ("cpu",))]))
    assert shape(written) == shape(tags)
    assert {**written["models"][0], "backends": None} == {**entry, "backends": None}
    running = LoadedModel("tiny", 1, 0, 4096, ps["models"][0]["expires_at"])
    assert shape(json.loads(render_ps([(running, model, ("cpu",))]))) == shape(ps)
    assert shape(json.loads(render_version("0.1.0"))) == shape(json.loads(CASES["version"]["response"]["body"]))


def test_a_description_has_ollamas_keys_but_for_what_only_the_models_file_tells() -> None:
    told = json.loads(CASES["show-ok"]["response"]["body"])
    model = Model("tiny", family="llama", format="gguf", capabilities=frozenset({"completion"}))
    written = json.loads(msgspec.json.encode(describe(model, "llamacpp", "http://127.0.0.1:8080", "{{ x }}")))
    assert list(written) == [key for key in told if key != "tensors"]
    for key in set(written) - {"model_info"}:
        assert shape(written[key]) == shape(told[key])


def test_every_native_case_is_looked_at() -> None:
    looked_at = set(ANSWERS) | set(REFUSALS) | NOT_FOUND | ENGINES_OWN | set(KNOWN_BY_THE_FLEET)
    assert looked_at | {"show-ok", "show-name", "show-derived"} == {
        n for n, case in CASES.items() if case["path"] in PARSERS
    }
    assert {Operation.CHAT, Operation.COMPLETION, Operation.EMBEDDING} == {answered(n)[0].operation for n in ANSWERS}
