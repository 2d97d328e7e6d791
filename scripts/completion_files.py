"""The shell completions as files: `python -m scripts.completion_files completions` writes them anew."""

import sys
from collections.abc import Mapping
from pathlib import Path

from click.shell_completion import ShellComplete, get_completion_class

from ollama_proxyd.cli.control import ai_efficiency, control

PROGRAMS = {"ollama-proxyctl": control, "ai-efficiency": ai_efficiency}
FILES = {"bash": "{}.bash", "zsh": "_{}", "fish": "{}.fish"}
"""What each shell calls the file of a program."""

EVERY_COMMA, FIRST_COMMA = 'string split "," ', 'string split --max 1 "," '
"""click's fish script would cut what a mode is for at its first comma."""


def files() -> Mapping[str, str]:
    """Every file with its text."""
    return {
        form.format(program): _text(shell, program).lstrip("\n")
        for program in PROGRAMS
        for shell, form in FILES.items()
    }


def _text(shell: str, program: str) -> str:
    kind = get_completion_class(shell)
    assert kind is not None
    variable = f"_{program.replace('-', '_').upper()}_COMPLETE"
    text = ShellComplete.source(kind(PROGRAMS[program], {}, program, variable))  # bash's own would look for a bash
    return text.replace(EVERY_COMMA, FIRST_COMMA)


if __name__ == "__main__":
    for name, text in files().items():
        Path(sys.argv[1], name).write_text(text, encoding="utf-8")
