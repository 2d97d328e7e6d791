"""Log probabilities of tokens, as OpenAI's chats and Ollama tell them; llama-server writes completions so too."""

from collections.abc import Iterable

import msgspec

from ollama_proxyd.core.events import TokenLogprob


class AnswerToken(msgspec.Struct):
    """A token, how likely it was, and the likeliest others."""

    token: str
    logprob: float | None = None
    bytes: tuple[int, ...] | None = None
    top_logprobs: list["AnswerToken"] | None = None


def read_logprobs(tokens: Iterable[AnswerToken], top: int | None = None) -> tuple[TokenLogprob, ...]:
    """The tokens whose log probability is known, with at most `top` alternatives, all of them when None."""
    return tuple(
        TokenLogprob(token.token, token.logprob, token.bytes, read_logprobs((token.top_logprobs or [])[:top], 0))
        for token in tokens
        if token.logprob is not None
    )
