"""The man pages say everything that --help says, and their markup is clean."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from ollama_proxyd.cli.control import ai_efficiency, control
from ollama_proxyd.cli.main import daemon
from tests.real_things import ROOT

CTL, ALIAS, DAEMON = (ROOT / "man" / name for name in ("ollama-proxyctl.1", "ai-efficiency.1", "ollama-proxyd.8"))
PAGES = {CTL: control, DAEMON: daemon}
PATH = {"PATH": os.environ["PATH"]}


def text_of(page: Path) -> str:
    """The page's source without font changes and escapes, its words apart."""
    plain = re.sub(r"\\f.|^\.[A-Z]+ |\"", " ", page.read_text(), flags=re.MULTILINE).replace("\\-", "-")
    return " ".join(plain.split())


def commands(command: click.Command, name: str = "") -> Iterator[tuple[str, click.Command]]:
    """A command and those below it, each with its words."""
    yield name, command
    if isinstance(command, click.Group):
        for word, each in command.commands.items():
            yield from commands(each, f"{name} {word}".strip())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_option_is_in_the_page(page: Path) -> None:
    words = set(re.split(r"[\s,\[\]]+", text_of(page)))
    options = {
        option
        for _, command in commands(PAGES[page])
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for option in (*parameter.opts, *parameter.secondary_opts)
    }
    assert {"-h", "--help"} < words
    assert options <= words, sorted(options - words)


def test_every_command_is_in_the_page() -> None:
    text = text_of(CTL)
    assert [name for name, _ in commands(control) if name.replace(" get", "").replace(" list", "") not in text] == []


def test_every_command_of_the_alias_is_in_the_synopsis() -> None:
    synopsis = text_of(CTL).partition("DESCRIPTION")[0]
    assert [name for name in ai_efficiency.commands if name not in synopsis] == []


def test_every_variable_that_is_read_is_in_the_page() -> None:
    text = text_of(CTL)
    sources = "".join(
        path.read_text() for path in (ROOT / "ollama_proxyd/cli").rglob("*.py") if path.name != "gather.py"
    )
    read = set(re.findall(r'environ(?:\.get\(|\[)["\']([A-Z_]+)["\']', sources))
    assert len(read) >= 5
    assert [name for name in read if name not in text] == []


@pytest.mark.parametrize("page", [*PAGES, ALIAS], ids=lambda page: page.name)
def test_the_markup_is_clean(page: Path) -> None:
    if shutil.which("groff") is None:
        pytest.skip("groff is not installed")
    done = subprocess.run(["groff", "-man", "-ww", "-Tutf8", page], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_command_of_the_alias_is_in_its_own_page() -> None:
    text = text_of(ALIAS)
    assert [name for name in ai_efficiency.commands if f" {name} " not in text] == []
    assert "ollama-proxyctl (1)" in text


@pytest.mark.parametrize("page", [CTL, ALIAS, DAEMON], ids=lambda page: page.name)
def test_the_page_is_shown_from_the_checkout(page: Path) -> None:
    if shutil.which("man") is None:
        pytest.skip("man is not installed")
    done = subprocess.run(
        ["man", "-l", page], capture_output=True, text=True, check=False, env={"MANWIDTH": "100", **PATH}
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert page.name.partition(".")[0] in done.stdout
