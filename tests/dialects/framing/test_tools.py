"""Whether a request has tools is seen without reading them."""

import msgspec
import pytest

from ollama_proxyd.core.requests import Hints
from ollama_proxyd.dialects.framing.tools import holds_tools
from ollama_proxyd.dialects.ollama.parse import parse_chat as ollama
from ollama_proxyd.dialects.openai.parse import parse_chat as openai

TOOL = b'{"type":"function","function":{"name":"f"}}'


@pytest.mark.parametrize("tools", [b"null", b"[]", b"[ ]", b"[\n]"])
def test_nothing_is_no_tool(tools: bytes) -> None:
    assert not holds_tools(msgspec.Raw(tools))


@pytest.mark.parametrize("parse", [ollama, openai])
def test_both_dialects_say_that_a_chat_needs_tools(parse) -> None:  # type: ignore[no-untyped-def]
    def chat(tools: bytes) -> bytes:
        return b'{"model":"m","messages":[{"role":"user","content":"x"}],"tools":%s}' % tools

    assert parse(chat(b"[%s]" % TOOL), Hints()).needs_tools
    assert not parse(chat(b"[]"), Hints()).needs_tools
