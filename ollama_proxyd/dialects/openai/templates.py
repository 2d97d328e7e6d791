"""Ollama's prompt templates, as far as they are plain text with variables."""

import re
from collections.abc import Mapping

from ollama_proxyd.dialects.openai.refusals import unsupported

_ACTION = re.compile(r"(?P<before>\s*\{\{-|\{\{)(?P<action>.*?)(?:-\}\}\s*|\}\})", re.DOTALL)


def fill(template: str, variables: Mapping[str, str]) -> str:
    """The template with its variables replaced; raises UNSUPPORTED when it holds conditions, loops or functions."""

    def value(match: re.Match[str]) -> str:
        action = match.group("action").strip()
        name = action.removeprefix(".")
        if name == action or name not in variables:
            raise unsupported(
                "template", f"the chosen backend has its own, and '{{{{ {action} }}}}' cannot be filled in here"
            )
        return variables[name]

    return _ACTION.sub(value, template)
