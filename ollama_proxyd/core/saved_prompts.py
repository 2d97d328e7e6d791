"""Whether the prompt that an engine holds is worth a place on the disk, and which one a request is to have back."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, NamedTuple

from ollama_proxyd.core.options import Option, Positive
from ollama_proxyd.core.reasons import Reason

_SECTION: Final = "saved_prompts."
CHANCE: Final = 0.5
"""How likely a conversation goes on after its model had left the memory; not known, hence neither."""
DISK_BYTES_PER_S: Final = 1e9
DISK_W: Final = 5.0
"""What a laptop's solid-state disk takes while it is written or read."""


@dataclass(frozen=True, slots=True)
class SavedPromptSettings:
    """How much of them is kept, and for how long."""

    max_gb: Annotated[
        Positive | None,
        Option(
            _SECTION,
            "Gigabytes on the disk for the prompts of engines that are stopped, each read back for a request that goes "
            "on from it; they hold what was said. null: none is written.",
        ),
    ] = None
    max_age_hours: Annotated[Positive, Option(_SECTION, "Hours after which such a prompt is removed.")] = 24.0

    @property
    def max_bytes(self) -> float:
        """All of them together; 0 while none is to be written."""
        return 0.0 if self.max_gb is None else self.max_gb * 1e9

    @property
    def max_age_s(self) -> float:
        """How old each may be."""
        return 3600 * self.max_age_hours


NONE_SAVED: Final = SavedPromptSettings()


class Slot(NamedTuple):
    """A place of an engine for one request, with the prompt that it holds."""

    number: int
    tokens: int
    is_busy: bool


class SavedPrompt(NamedTuple):
    """A prompt on the disk, by the name of its file; its tokens tell which requests go on from it."""

    name: str
    size_bytes: int
    tokens: Sequence[int]


class SavedState(NamedTuple):
    """What is on the disk of all engines, and what it was good for since the daemon began."""

    files: int = 0
    size_bytes: int = 0
    limit_bytes: float = 0.0
    saved_tokens: int = 0
    read_tokens: int = 0
    trouble: Reason | None = None
    """Why the last one was not written, or not read back."""


def begins_alike(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two prompts begin with alike."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[low:middle] == other[low:middle] else (low, middle - 1)
    return low


def best_of(saved: Iterable[SavedPrompt], asked: Sequence[int]) -> tuple[SavedPrompt | None, int]:
    """The one that spares a request the most tokens, and how many those are."""
    found = [(begins_alike(each.tokens, asked), -each.size_bytes, each) for each in saved]
    shared, _, best = max(found, key=lambda each: each[:2], default=(0, 0, None))
    return best, shared


def pays_now(read_j: float, size_bytes: float) -> bool:
    """Whether reading so many bytes takes less than to read the prompt anew, for a request that is there."""
    return read_j > size_bytes / DISK_BYTES_PER_S * DISK_W


def pays(read_j: float, size_bytes: float) -> bool:
    """Whether to write and read so many bytes takes less than to read the prompt anew would, if it is asked for."""
    return CHANCE * read_j > (1 + CHANCE) * size_bytes / DISK_BYTES_PER_S * DISK_W
