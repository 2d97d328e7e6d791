"""The daemon answers what a real Ollama answered to the same requests, with the same models behind llama-servers."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from tests.e2e.harness import ROOT, Daemon, Fleet, Reply, StartDaemon, ask, backend, config_of, llama
from tests.e2e.transcript import Case, content_type, differences, values

pytestmark = pytest.mark.real
TRANSCRIPT = ROOT / "tests" / "golden" / "ollama-transcript.jsonl"
CASES = {case.name: case for case in map(Case.parse, TRANSCRIPT.read_text().splitlines())}
FILES = ("/api/create", "/api/copy", "/api/delete", "/api/pull", "/api/blobs/")
OF_FILES = {name for name, case in CASES.items() if case.path.startswith(FILES)} | {"show-derived"}
"""What only an Ollama answers."""


@dataclass(frozen=True)
class Differs:
    """Which aspects of an answer cannot be Ollama's with a llama-server behind, and why."""

    aspects: frozenset[str]
    why: str

    def __init__(self, aspects: str, why: str) -> None:
        object.__setattr__(self, "aspects", frozenset(aspects.split()))
        object.__setattr__(self, "why", why)


NO_FAMILY = "a llama-server does not name its model's family"
FILE_IS_UNSEEN = "a llama-server does not show its model's file: no family, tensors or tokenizer"
NO_CONTEXT = "a llama-server hands out no token ids of a chat, so there is no `context` to go on from"
THINKS_APART = "thinking comes apart from the answer, where Ollama's bare template left both in one text"
OTHER_GRAMMAR = "the grammar of a chat spells the same JSON with other tokens than that of a raw prompt"
WHOLE_SCHEMA = "a tool's schema reaches the model whole; Ollama drops what it does not know, such as minimum"
OWN_ORDER = "a schema's properties keep the client's order; Ollama sorts them by name"
OWN_WORDS = "client and engine speak one dialect: a llama-server's own answer passes through unchanged"
CACHE_APART = "a llama-server counts what it had in its cache apart, as Anthropic's API means it"
MORE_TOLD = "the error names the field and has a code, as OpenAI's own does"
OWN_THOUGHTS = "thinking is reasoning_text, as open models' servers have it; Ollama calls it a summary, and encrypted"
NO_TEMPLATE = "a llama-server completes the prompt as it is; Ollama puts it into the chat template"

EXCEPTIONS: dict[str, Differs] = {
    "tags": Differs("shape", NO_FAMILY),
    "ps": Differs("shape", NO_FAMILY),
    "show-ok": Differs("shape", FILE_IS_UNSEEN),
    "show-name": Differs("shape", FILE_IS_UNSEEN),
    "generate-stream": Differs("shape text", f"{NO_CONTEXT}; {THINKS_APART}"),
    "generate-full": Differs("shape text", f"{NO_CONTEXT}; {THINKS_APART}"),
    "generate-nothink": Differs("shape", NO_CONTEXT),
    "generate-think": Differs("shape text", f"{NO_CONTEXT}; {THINKS_APART}"),
    "generate-think-high": Differs("shape text", f"{NO_CONTEXT}; {THINKS_APART}"),
    "generate-system": Differs("shape text", f"{NO_CONTEXT}; {THINKS_APART}"),
    "generate-template": Differs("shape", NO_CONTEXT),
    "generate-json": Differs("shape tokens", f"{NO_CONTEXT}; {OTHER_GRAMMAR}"),
    "generate-schema": Differs("shape tokens", f"{NO_CONTEXT}; {OTHER_GRAMMAR}"),
    "generate-context": Differs("shape text tokens", f"{NO_CONTEXT}; {THINKS_APART}"),
    "generate-option-unknown": Differs("shape text", f"{NO_CONTEXT}; {THINKS_APART}"),
    "generate-num-ctx": Differs("shape text", f"{NO_CONTEXT}; {THINKS_APART}"),
    "chat-tools": Differs("tokens", WHOLE_SCHEMA),
    "chat-tool-result": Differs("tokens", WHOLE_SCHEMA),
    "chat-schema": Differs("text tokens", OWN_ORDER),
    "chat-images": Differs("status", "what a model cannot see is the client's error, not the server's"),
    "embed-trunc": Differs("vectors tokens", "a text is cut at what a llama-server's batch holds"),
    "v1-chat-full": Differs("shape", OWN_WORDS),
    "v1-chat-stream": Differs("shape", OWN_WORDS),
    "v1-chat-usage": Differs("shape", OWN_WORDS),
    "v1-chat-none": Differs("shape", OWN_WORDS),
    "v1-chat-json": Differs("shape", OWN_WORDS),
    "v1-chat-schema": Differs("shape text tokens", f"{OWN_WORDS}; {OWN_ORDER}"),
    "v1-chat-limit": Differs("shape", OWN_WORDS),
    "v1-chat-parts": Differs("shape", OWN_WORDS),
    "v1-chat-missing": Differs("shape", MORE_TOLD),
    "v1-completions-stream": Differs("shape text tokens", f"{OWN_WORDS}; {NO_TEMPLATE}"),
    "v1-completions-list": Differs("status shape", "a llama-server completes several prompts at once"),
    "v1-completions-logprobs": Differs("shape text tokens", f"{OWN_WORDS}; {NO_TEMPLATE}"),
    "v1-embeddings-base64": Differs("shape", OWN_WORDS),
    "v1-responses-full": Differs("shape", OWN_THOUGHTS),
    "v1-responses-stream": Differs("shape", OWN_THOUGHTS),
    "v1-responses-tools": Differs("shape tokens", f"{WHOLE_SCHEMA}; settings that were not given are null"),
    "v1-responses-baditem": Differs("shape", MORE_TOLD),
    "v1-messages-full": Differs("shape tokens", f"{OWN_WORDS}; {CACHE_APART}"),
    "v1-messages-stream": Differs("shape tokens", f"{OWN_WORDS}; {CACHE_APART}"),
    "v1-messages-tools": Differs("shape tokens", f"{OWN_WORDS}; {WHOLE_SCHEMA}"),
    "v1-messages-tools-stream": Differs("shape tokens", f"{OWN_WORDS}; {WHOLE_SCHEMA}"),
    "v1-messages-thinking-off": Differs("shape tokens", f"{OWN_WORDS}; {CACHE_APART}"),
    "v1-messages-limit": Differs("shape tokens", f"{OWN_WORDS}; {CACHE_APART}"),
    "v1-messages-stop": Differs("shape tokens", f"{OWN_WORDS}; {CACHE_APART}"),
    "v1-count-tokens": Differs("status type shape", "tokens are counted, where Ollama has no such route"),
}


@pytest.fixture(scope="session")
def like_ollama(fleet: Fleet, session_daemons: StartDaemon) -> Daemon:
    """A daemon with just the models that the recorded Ollama had."""
    config = config_of(llama("tiny", fleet.tiny), llama("tinyembed", fleet.tinyembed))
    return session_daemons(config).ready("tiny", "tinyembed")


@pytest.mark.parametrize("name", [name for name in CASES if name not in OF_FILES])
def test_an_answer_is_the_one_that_ollama_gave(like_ollama: Daemon, name: str) -> None:
    case = CASES[name]
    got = ask(like_ollama.url, case.method, case.path, case.request)
    found = differences(case.answer, got)
    allowed = EXCEPTIONS[name].aspects if name in EXCEPTIONS else frozenset()
    unexpected = [text for aspect, text in found.items() if aspect not in allowed]
    assert not unexpected, "\n".join(unexpected)
    assert not allowed - found.keys(), f"an exception is no longer needed: {sorted(allowed - found.keys())}"


class _Repeats(BaseHTTPRequestHandler):
    """An Ollama that answers what the recorded one did."""

    protocol_version = "HTTP/1.1"
    models = ("tiny", "derived", "derived2", "copied")

    def log_message(self, *_args: object) -> None:
        pass

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        asked = json.loads(body) if body else None
        same = (case for case in CASES.values() if (case.method, case.path) == (self.command, self.path))
        found = next((case.answer for case in same if case.request == asked), None)
        if self.path == "/api/show":
            found = CASES["show-derived"].answer
        if self.path == "/api/tags":
            rows = [{"name": f"{name}:latest", "digest": "a" * 64, "details": {}} for name in self.models]
            found = Reply(200, {"content-type": "application/json"}, json.dumps({"models": rows}).encode())
        reply = found or Reply(404, {"content-type": "text/plain"}, b"404 page not found")
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.headers.get("content-type", ""))
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)

    do_GET = do_POST = do_DELETE = do_HEAD = _answer  # noqa: N815 - http.server's names


@pytest.fixture(scope="module")
def before_ollama(session_daemons: StartDaemon) -> Iterator[Daemon]:
    """A daemon in front of an Ollama that repeats itself."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Repeats)
    Thread(target=server.serve_forever, daemon=True).start()
    yield session_daemons(config_of(backend("one", f"http://127.0.0.1:{server.server_port}", "ollama"))).ready("tiny")
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("name", sorted(OF_FILES))
def test_what_an_ollama_says_of_its_files_reaches_its_clients(before_ollama: Daemon, name: str) -> None:
    case = CASES[name]
    got = ask(before_ollama.url, case.method, case.path, case.request)
    want = case.answer
    assert (got.status, content_type(got), [*values(got.body)]) == (
        want.status,
        content_type(want),
        [*values(want.body)],
    )


def test_every_exception_belongs_to_a_recorded_case() -> None:
    assert not EXCEPTIONS.keys() - CASES.keys()
