"""What the admin API keeps: backends and front ends beside the file's, tokens with roles, and who changed what."""

from collections.abc import Mapping
from enum import Enum, IntEnum
from typing import NamedTuple

from ollama_proxyd.core.requests import Json
from ollama_proxyd.core.values import value

MOST_ENTRIES = 1000
MOST_TOKENS = 1000
MOST_AUDITED = 1000
"""How many changes one answer tells of."""


class Role(IntEnum):
    """What a token is good for; each has what those below it have."""

    READ = 0
    """Asking for the state and the settings."""
    USE = 1
    """Inference."""
    ADMIN = 2
    """Changing the settings."""


class Kind(Enum):
    """What can be added: the section of the file, and the key that names one."""

    BACKENDS = "backends"
    FRONTENDS = "frontends"

    @property
    def name_key(self) -> str:
        """The key by which the file names one."""
        return "id" if self is Kind.BACKENDS else "name"


class Entry(NamedTuple):
    """A backend or a front end in the words of the file."""

    kind: Kind
    name: str
    values: Mapping[str, Json]


class LeftOut(NamedTuple):
    """An entry that is kept and not in force, since the file has come to contradict it."""

    kind: Kind
    name: str
    why: str


class Written(NamedTuple):
    """An option of the file as it is in force; `origin` is where its value was written, None where nowhere."""

    key: str
    value: Json
    default: Json
    origin: str | None
    sentence: str
    needs_restart: bool
    """Whether another value waits for a restart; else a reload suffices."""


class Token(NamedTuple):
    """A token by its name; the token itself is not kept, only its hash."""

    name: str
    role: Role
    sha256: str
    created_unix_s: float


class Who(NamedTuple):
    """Who asks for a change, and from where."""

    name: str
    place: str


class Change(NamedTuple):
    """One change, for the audit."""

    unix_s: float
    who: str
    place: str
    action: str
    kind: str
    name: str


@value
class Kept:
    """All that is kept, but for the audit."""

    entries: tuple[Entry, ...] = ()
    tokens: tuple[Token, ...] = ()
