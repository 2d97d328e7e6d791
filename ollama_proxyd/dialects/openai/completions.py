"""OpenAI's plain completions as they come from a client."""

import msgspec

from ollama_proxyd.core.requests import Completion, Hints, Json, Operation, Request
from ollama_proxyd.dialects.framing.jsonbody import convert_typed, decode_object, decode_typed
from ollama_proxyd.dialects.openai.formats import ResponseFormat, check_top_logprobs, parse_format
from ollama_proxyd.dialects.openai.options import parse_options
from ollama_proxyd.dialects.openai.refusals import refuse_untranslatable, unsupported
from ollama_proxyd.dialects.openai.requests import STRUCTURAL, Head, request_of


class CompletionHead(Head, kw_only=True):
    """What a completion tells routing: a prompt is text, tokens, or a list of either."""

    prompt: str | list[msgspec.Raw]


class CompletionBody(msgspec.Struct):
    """The structure of a completion; everything else in it is a setting."""

    prompt: str | list[Json]
    suffix: str | None = None
    logprobs: int | bool | None = None
    response_format: ResponseFormat | None = None


_HEAD = msgspec.json.Decoder(CompletionHead)
_STRUCTURE = STRUCTURAL.union(CompletionBody.__struct_fields__)


def parse(body: bytes, hints: Hints) -> Request:
    """The request for a completion."""
    head = decode_typed(_HEAD, body)
    return request_of(head, body, hints, (Operation.COMPLETION, "completions", parse_content))


def parse_content(body: bytes) -> Completion:
    """The whole content of a completion: the prompt goes to the model as it is, without a chat template."""
    fields = decode_object(body)
    refuse_untranslatable(fields)
    completion = convert_typed(fields, CompletionBody)
    asked, top = _logprobs(completion.logprobs)
    return Completion(
        prompt=_one_prompt(completion.prompt),
        raw=not completion.suffix,
        suffix=completion.suffix,
        format=parse_format(completion.response_format),
        logprobs=asked,
        top_logprobs=check_top_logprobs(top),
        options=parse_options(fields, _STRUCTURE),
    )


def _one_prompt(prompt: str | list[Json]) -> str:
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str):
        raise unsupported("prompt", "only one prompt of text can be translated for the chosen backend")
    return prompt


def _logprobs(asked: int | bool | None) -> tuple[bool | None, int | None]:
    """Completions say with one number whether log probabilities are wanted and of how many tokens."""
    if asked is None or isinstance(asked, bool):
        return asked, None
    return True, asked
