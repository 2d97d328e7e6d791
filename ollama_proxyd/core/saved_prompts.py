"""Whether the prompt that an engine holds is worth a place on the disk when the engine is stopped."""

from dataclasses import dataclass
from typing import Annotated, Final, NamedTuple

from ollama_proxyd.core.options import Option, Positive

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
            "Gigabytes on the disk for the prompts of engines that are stopped, which the next start reads back; they "
            "hold what was said. null: none is written.",
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


def pays(read_j: float, size_bytes: float) -> bool:
    """Whether to write and read so many bytes takes less than to read the prompt anew would, if it is asked for."""
    return CHANCE * read_j > (1 + CHANCE) * size_bytes / DISK_BYTES_PER_S * DISK_W
