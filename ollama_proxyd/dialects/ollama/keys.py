"""The keys of Ollama's requests, which its own server reads in any case of letters."""

from collections.abc import Iterable

from ollama_proxyd.dialects.ollama.bodies import go_quote, refusal

KEYS = frozenset(
    {
        *("model", "name", "stream", "options", "keep_alive", "format", "think", "truncate", "shift"),
        *("messages", "tools", "logprobs", "top_logprobs"),
        *("prompt", "suffix", "system", "template", "context", "raw", "images"),
        *("input", "dimensions", "verbose"),
    }
)


def refuse_lookalikes(names: Iterable[str]) -> None:
    """Raise INVALID_REQUEST when a name is one of the keys but for the case of its letters.

    Here it would be an unknown field, and there it would take the place of the right one: of the model, say.
    """
    for name in names:
        if name not in KEYS and (meant := name.casefold()) in KEYS:
            message = f"the key {go_quote(name)} would be read as {go_quote(meant)} by Ollama; write it so, and once"
            raise refusal(message, name)
