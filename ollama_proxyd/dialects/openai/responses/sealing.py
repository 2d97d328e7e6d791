"""What stands for a conversation that was summed up. OpenAI encrypts it; here it is the text, which needs no key."""

import base64
import binascii

from ollama_proxyd.dialects.openai.options import unsupported

_MARK = "ollama-proxyd:"
_TOLD = "Summary of the conversation so far:\n"


def sealed(summary: str) -> str:
    """A summary as a client keeps it: a mark and base64."""
    return _MARK + base64.b64encode(summary.encode()).decode()


def opened(content: str | None, field: str) -> str:
    """What a model is told of it; ProxyError for one that was made elsewhere."""
    text = (content or "").removeprefix(_MARK)
    try:
        if not text or text == content:
            raise binascii.Error
        return _TOLD + base64.b64decode(text, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise unsupported(field, "only summaries that were made here can be read; send the conversation") from None
