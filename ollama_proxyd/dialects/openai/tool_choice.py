"""Reads which tools a chat may call, and whether it must."""

from ollama_proxyd.core.requests import Tool, ToolChoice, ToolMode
from ollama_proxyd.dialects.framing.jsonbody import invalid_request
from ollama_proxyd.dialects.openai.options import unsupported
from ollama_proxyd.dialects.openai.request import AllowedTools, ToolChoiceBody

_MODES = {mode.value: mode for mode in ToolMode}
_OTHER_MODES = {**_MODES, "any": ToolMode.REQUIRED}
"""Mistral's word too."""
_ALLOWED_MODES = (ToolMode.AUTO, ToolMode.REQUIRED)


def read_choice(
    choice: str | ToolChoiceBody | None, tools: tuple[Tool, ...]
) -> tuple[tuple[Tool, ...], ToolChoice | None]:
    """The tools that count, and the choice among them."""
    if choice is None:
        return tools, None
    if isinstance(choice, str):
        if choice not in _OTHER_MODES:
            raise invalid_request(f"tool_choice must be one of {', '.join(_MODES)}, or a function", "tool_choice")
        return tools, ToolChoice(_OTHER_MODES[choice])
    if choice.allowed_tools is not None:
        return _allowed(choice.allowed_tools, tools)
    name = choice.function.name if choice.function is not None else choice.name
    if choice.type != "function" or name is None:
        raise unsupported("tool_choice", f"type '{choice.type[:40]}' without a function has no translation")
    return tools, ToolChoice(ToolMode.REQUIRED, name)


def _allowed(allowed: AllowedTools, tools: tuple[Tool, ...]) -> tuple[tuple[Tool, ...], ToolChoice]:
    """Those tools alone, of which any may or must be called."""
    mode = _MODES.get(allowed.mode)
    if mode not in _ALLOWED_MODES:
        known = " or ".join(each.value for each in _ALLOWED_MODES)
        raise invalid_request(f"tool_choice.allowed_tools.mode must be {known}", "tool_choice")
    names = {each.function.name for each in allowed.tools if each.function is not None}
    if not names or not names <= {tool.name for tool in tools}:
        raise invalid_request("tool_choice allows a function that is not among the tools", "tool_choice")
    return tuple(tool for tool in tools if tool.name in names), ToolChoice(mode)
