"""The daemon answers what a real Ollama answered to the same requests, with the same models behind llama-servers."""

from dataclasses import dataclass

import pytest

from tests.e2e.harness import ROOT, Daemon, Fleet, StartDaemon, ask, config_of, llama
from tests.e2e.transcript import Case, differences

pytestmark = pytest.mark.real
TRANSCRIPT = ROOT / "tests" / "golden" / "ollama-transcript.jsonl"
CASES = {case.name: case for case in map(Case.parse, TRANSCRIPT.read_text().splitlines())}


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
    "v1-chat-missing": Differs("shape", "the error names the field and has a code, as OpenAI's own does"),
    "v1-completions-stream": Differs("shape text tokens", f"{OWN_WORDS}; {NO_TEMPLATE}"),
    "v1-completions-list": Differs("status shape", "a llama-server completes several prompts at once"),
    "v1-completions-logprobs": Differs("shape text tokens", f"{OWN_WORDS}; {NO_TEMPLATE}"),
    "v1-embeddings-base64": Differs("shape", OWN_WORDS),
    "v1-count-tokens": Differs("status type shape", "tokens are counted, where Ollama has no such route"),
}


@pytest.fixture(scope="session")
def like_ollama(fleet: Fleet, session_daemons: StartDaemon) -> Daemon:
    """A daemon with just the models that the recorded Ollama had."""
    config = config_of(llama("tiny", fleet.tiny), llama("tinyembed", fleet.tinyembed))
    return session_daemons(config).ready("tiny", "tinyembed")


@pytest.mark.parametrize("name", CASES)
def test_an_answer_is_the_one_that_ollama_gave(like_ollama: Daemon, name: str) -> None:
    case = CASES[name]
    got = ask(like_ollama.url, case.method, case.path, case.request)
    found = differences(case.answer, got)
    allowed = EXCEPTIONS[name].aspects if name in EXCEPTIONS else frozenset()
    unexpected = [text for aspect, text in found.items() if aspect not in allowed]
    assert not unexpected, "\n".join(unexpected)
    assert not allowed - found.keys(), f"an exception is no longer needed: {sorted(allowed - found.keys())}"


def test_every_exception_belongs_to_a_recorded_case() -> None:
    assert not EXCEPTIONS.keys() - CASES.keys()
