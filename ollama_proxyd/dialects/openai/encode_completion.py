"""Plain completions for OpenAI clients; they have no place for thinking or tool calls, which are left out."""

from ollama_proxyd.core.events import Delta, Finished, TokenLogprob
from ollama_proxyd.core.requests import Json, Request
from ollama_proxyd.dialects.openai.encode_text import REASONS, TextEncoder


class CompletionEncoder(TextEncoder):
    """Writes one completion."""

    def __init__(self, request: Request, created: int, answer_id: str) -> None:
        super().__init__(request, created, f"cmpl-{answer_id}", ("text_completion", "text_completion"))
        self._written = 0

    def _pieces(self, delta: Delta) -> list[Json]:
        if not delta.text and not delta.logprobs:
            return []
        return [self._choice(delta.text, delta.logprobs, None)]

    def _last_pieces(self, finished: Finished) -> list[Json]:
        return [self._choice("", None, REASONS[finished.reason])]

    def _answer(self, deltas: list[Delta], finished: Finished) -> Json:
        tokens = tuple(token for delta in deltas for token in delta.logprobs or ())
        return self._choice("".join(delta.text for delta in deltas), tokens or None, REASONS[finished.reason])

    def _choice(self, text: str, tokens: tuple[TokenLogprob, ...] | None, reason: str | None) -> Json:
        logprobs = None if tokens is None else self._logprobs(tokens)
        self._written += len(text)
        return {"text": text, "index": 0, "logprobs": logprobs, "finish_reason": reason}

    def _logprobs(self, tokens: tuple[TokenLogprob, ...]) -> dict[str, Json]:
        """Parallel lists, with where in the whole text each token begins."""
        offsets, offset = [], self._written
        for token in tokens:
            offsets.append(offset)
            offset += len(token.token)
        return {
            "tokens": [token.token for token in tokens],
            "token_logprobs": [token.logprob for token in tokens],
            "top_logprobs": [{other.token: other.logprob for other in token.top} for token in tokens],
            "text_offset": offsets,
        }
