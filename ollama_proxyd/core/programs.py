"""The program that asks: its name, and how that is known."""

import re
from dataclasses import dataclass
from enum import Enum

from ollama_proxyd.core.values import value

MOST_CHARACTERS = 100


class KnownBy(Enum):
    """How a program's name is known."""

    FLATPAK = "flatpak"
    UNIT = "unit"
    """The systemd unit or scope that it runs in."""
    EXECUTABLE = "executable"
    GUESS = "guess"
    """It calls itself so."""
    UNKNOWN = "unknown"


@value
class Program:
    """A program by its name; where it is not known, the name is empty."""

    name: str = ""
    known_by: KnownBy = KnownBy.UNKNOWN


UNKNOWN = Program()


@dataclass(slots=True, eq=False)
class Asker:
    """Who asks, as far as that is known by now: a search may end while the request is under way."""

    program: Program = UNKNOWN


NOBODY = Asker()

_FLATPAK = "app-flatpak-"
_SHARED = re.compile(r"(session|run|vte-spawn|ptyxis-spawn|tmux-spawn|kitty|dbus)-|user@|init$|[0-9]+$")
"""Where programs of many kinds run: logins, terminals and what systemd-run starts."""
_CONTAINERS = re.compile(r"(docker|libpod|crio|cri-containerd|buildah)-")
_NUMBER = re.compile(r"-[0-9]+$")
_ESCAPED = re.compile(r"\\x([0-9a-f]{2})")
_INTERPRETERS = re.compile(r"(python|pypy|node|deno|bun|ruby|perl|java|sh|bash|zsh|fish|uv)[0-9.]*")
_PRODUCT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,39}")


def of_cgroup(path: str) -> Program | None:
    """The program of a control group of systemd; None where the group says nothing of it.

    The names are those of systemd's "Desktop Environment Integration": app[-launcher]-ID[@…].service and
    app[-launcher]-ID-….scope.
    """
    unit = next((part for part in reversed(path.split("/")) if part.endswith((".scope", ".service"))), "")
    stem, _, kind = unit.rpartition(".")
    if not stem or _SHARED.match(stem):
        return None
    if container := _CONTAINERS.match(stem):
        return Program(container[1], KnownBy.UNIT)
    if stem.startswith("snap."):
        return Program(_named(stem.split(".")[1]), KnownBy.UNIT)
    body = _NUMBER.sub("", stem) if kind == "scope" else stem.partition("@")[0]
    if stem.startswith(_FLATPAK):
        return Program(_named(body.removeprefix(_FLATPAK)), KnownBy.FLATPAK)
    if body.startswith("app-"):
        launcher, _, program = body.removeprefix("app-").partition("-")
        return Program(_named(program or launcher), KnownBy.UNIT)
    return Program(_named(body), KnownBy.UNIT)


def of_command(name: str, arguments: list[str]) -> Program:
    """The program of a process by its name and its command line; of an interpreter it is the script's."""
    if _INTERPRETERS.fullmatch(name):
        rest = arguments[1:]
        if rest[:1] == ["-m"]:
            rest = rest[1:]
        if rest and not rest[0].startswith("-"):
            name = rest[0].rpartition("/")[2]
    return Program(_named(name), KnownBy.EXECUTABLE) if name else UNKNOWN


def of_user_agent(text: str) -> Program:
    """What a program calls itself: the first product of its User-Agent (RFC 9110, section 10.1.5)."""
    product = _PRODUCT.match(text)
    return UNKNOWN if product is None else Program(product[0], KnownBy.GUESS)


def _named(escaped: str) -> str:
    """A name as people write it, with what systemd-escape(1) made of some characters undone."""
    raw = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), escaped)
    return "".join(each if each.isprintable() else "?" for each in raw)[:MOST_CHARACTERS]
