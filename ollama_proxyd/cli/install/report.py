"""What an installation did, what it left out and why, and what is to be done next."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True)
class Report:
    """Lines for people."""

    home: Path
    done: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    next: list[str] = field(default_factory=list)

    def shown(self, path: Path) -> str:
        """A path as people write it."""
        return f"~/{path.relative_to(self.home)}" if path.is_relative_to(self.home) else str(path)

    def text(self) -> str:
        """All of it."""
        sections = (("left out", self.left_out), ("next", self.next))
        below = [line for title, lines in sections if lines for line in (f"{title}:", *(f"  {each}" for each in lines))]
        return "\n".join([*self.done, *below])
