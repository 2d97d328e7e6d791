"""What is known of an engine: how it is recognised, what it is asked, and which dialects it speaks."""

import re
from collections.abc import Callable, Mapping
from dataclasses import field

from ollama_proxyd.core.requests import Api, Json
from ollama_proxyd.core.values import value
from ollama_proxyd.dialects.base import Dialect
from ollama_proxyd.dialects.openai.dialect import OpenAI
from ollama_proxyd.edges.backends import facts
from ollama_proxyd.edges.backends.findings import Findings
from ollama_proxyd.edges.backends.unloading import Loading, Unloading
from ollama_proxyd.edges.backends.untrusted_json import at, items, text
from ollama_proxyd.edges.plumbing.port_owner import CommandLine


@value
class Answer:
    """An answer to a GET: header names in lower case; `json` is None where the body is not JSON."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    text: str = ""
    json: Json = None


@value
class Sign:
    """A sign of one engine: the path to ask, what must come back, and that sign in words."""

    path: str
    matches: Callable[[Answer], bool]
    words: str


@value
class Question:
    """A path that a health check asks, and what its answer tells."""

    path: str
    read: Callable[[Json], Findings]


@value
class Continues:
    """How an engine goes on from an assistant's message at the end of a chat.

    fields: what asks for it in the request. thinking: whether the message may hold thinking.
    """

    fields: Mapping[str, Json] = field(default_factory=dict)
    thinking: bool = False


@value
class Engine:
    """One engine.

    name: in the configuration and in ids. label: for people. signs: any of them identifies it.
    ports: where it listens by default. speaks: its dialects; others are translated to the first. Without one it never
    becomes a backend.
    health: answers 2xx when it can serve; None where the model list tells as much. models: the list that must come.
    extras: questions that may fail. details: asked for each model with a POST. template: its answer holds the chat
    template. slots: how many requests it answers at once, where that is fixed. slots_read: the same from how its
    program was started, None where that does not say. resident: its models stay in memory while it runs.
    counts_tokens: it has /tokenize and /detokenize, by which texts that are too long can be truncated.
    continues: None where it does not go on exactly from a begun message. keeps: the field in which a request of its
    first dialect says for how many seconds the model stays. unloading: None where it unloads nothing on request.
    manages: it has the routes of Ollama's API that change the files of models. takes_options: its requests have
    Ollama's `options`, of which some are about the engine. dies: a 503 of its health says that only a new process
    helps. loading: the requests after which a model is in memory, where its health is good before; each next one is for
    models that cannot do what the one before is for. restarts: the words of an error after which it starts what
    computes in it anew.
    """

    name: str
    label: str
    signs: tuple[Sign, ...] = ()
    ports: tuple[int, ...] = ()
    speaks: tuple[Dialect, ...] = (OpenAI(),)
    health: str | None = None
    models: Question | None = None
    extras: tuple[Question, ...] = ()
    details: Question | None = None
    template: str | None = None
    slots: int | None = None
    slots_read: Callable[[CommandLine], int | None] | None = None
    resident: bool = False
    counts_tokens: bool = False
    continues: Continues | None = None
    keeps: str | None = None
    unloading: Unloading | None = None
    manages: bool = False
    takes_options: bool = False
    dies: bool = False
    loading: tuple[Loading, ...] = ()
    restarts: re.Pattern[str] | None = None

    @property
    def api(self) -> Api | None:
        """The API that other dialects are translated to."""
        return self.speaks[0].api if self.speaks else None

    @property
    def openai_base(self) -> str:
        """Where its routes of OpenAI's API would be."""
        return next((each.base for each in self.speaks if each.api is Api.OPENAI), "/v1")

    @property
    def model_list(self) -> Question:
        """The question whose answer lists the models."""
        return self.models or Question(f"{self.speaks[0].base}/models", facts.read_models)


VERSION = Question("/version", facts.read_version)


_COUNT = re.compile(r"[1-9][0-9]{0,3}", re.ASCII)


def count_in(text: str | None) -> int | None:
    """A number of slots as a program was told it; None where it is none, or not a plausible one."""
    return int(text) if text is not None and _COUNT.fullmatch(text.strip()) else None


def argument(command: CommandLine, name: str) -> str | None:
    """The value of an option on a program's command line, in either of its two forms; the last one counts."""
    words, found = command.arguments, None
    for word, following in zip(words, (*words[1:], None), strict=True):
        if word == name:
            found = following
        elif word.startswith(f"{name}="):
            found = word.removeprefix(f"{name}=")
    return found


def listed(answer: Answer, list_key: str, name_key: str) -> tuple[Json, ...]:
    """The entries of a list in which every entry has its name, () otherwise."""
    entries = items(answer.json, list_key) if answer.status == 200 else ()
    return entries if all(text(entry, name_key) for entry in entries) else ()


def lists_models(answer: Answer) -> bool:
    """Whether the answer is OpenAI's list of models."""
    return text(answer.json, "object") == "list" and bool(listed(answer, "data", "id"))


def says(*path: str, value: Json) -> Callable[[Answer], bool]:
    """The answer holds this value."""
    return lambda answer: answer.status == 200 and at(answer.json, *path) == value


def has_text(key: str) -> Callable[[Answer], bool]:
    """The answer holds some text under a key."""
    return lambda answer: answer.status == 200 and text(answer.json, key) is not None


def has(*path: str) -> Callable[[Answer], bool]:
    """The answer holds something there."""
    return lambda answer: answer.status == 200 and at(answer.json, *path) is not None


def owned_by(owner: str) -> Callable[[Answer], bool]:
    """The answer lists a model of this owner."""
    return lambda answer: any(text(entry, "owned_by") == owner for entry in listed(answer, "data", "id"))
