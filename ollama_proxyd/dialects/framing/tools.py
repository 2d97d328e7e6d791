"""Tools in the JSON that OpenAI's and Ollama's APIs share."""

from collections.abc import Iterable

import msgspec

from ollama_proxyd.core.requests import Json, Tool, ToolChoice
from ollama_proxyd.dialects.framing.jsonbody import invalid_request, present

NO_TOOLS = msgspec.Raw(b"null")
_LONGEST_NOTHING = 64


def holds_tools(tools: msgspec.Raw) -> bool:
    """Whether a field of tools, which stays the client's bytes, holds any."""
    return len(tools) > _LONGEST_NOTHING or bytes(tools).strip(b" \t\r\n[]") not in {b"", b"null"}


class FunctionBody(msgspec.Struct):
    """A function that the model may call."""

    name: str
    description: str | None = None
    parameters: dict[str, Json] | None = None
    strict: bool | None = None


class ToolBody(msgspec.Struct):
    """A tool as it comes; a type without a function is one that only some servers have."""

    function: FunctionBody | None = None
    type: str = "function"

    @property
    def is_foreign(self) -> bool:
        """Whether the engine, or a server that only some have, is to do what no function does."""
        return self.function is None and self.type != "function"


def read_tools(bodies: Iterable[ToolBody]) -> tuple[Tool, ...]:
    """The functions among the tools; raises INVALID_REQUEST for one that lacks its function."""
    tools = []
    for index, body in enumerate(bodies):
        if body.is_foreign:
            continue
        function = body.function
        if function is None:
            raise invalid_request(f"tools[{index}].function is required", f"tools[{index}].function")
        tools.append(Tool(function.name, function.description, function.parameters, function.strict))
    return tuple(tools)


def foreign_tools(bodies: Iterable[ToolBody]) -> dict[str, Json]:
    """Names for the tools that engines of other APIs do not know: they are left out, and the client is told."""
    return {f"tools[{index}]": True for index, body in enumerate(bodies) if body.is_foreign}


def write_tools(tools: Iterable[Tool]) -> list[dict[str, Json]]:
    """The tools as an engine takes them."""
    functions = (
        present(name=tool.name, description=tool.description, parameters=tool.parameters, strict=tool.strict)
        for tool in tools
    )
    return [{"type": "function", "function": function} for function in functions]


def write_choice(choice: ToolChoice) -> Json:
    """Whether tools are called, as OpenAI's engines take it."""
    return choice.mode.value if choice.name is None else {"type": "function", "function": {"name": choice.name}}
