"""One file of an installation, as it should be."""

import hashlib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Part:
    """A file with its content, or a link."""

    path: Path
    content: bytes = b""
    link_to: str | None = None
    mode: int = 0o644

    @property
    def digest(self) -> str:
        """What tells it from another one."""
        return _digest(self.content, self.link_to)


def found(path: Path) -> Part | None:
    """What is there now; None for nothing."""
    if path.is_symlink():
        return Part(path, link_to=str(path.readlink()))
    if not path.exists():
        return None
    return Part(path, content=path.read_bytes() if path.is_file() else b"\0", mode=path.stat().st_mode & 0o777)


def write(part: Part) -> None:
    """Put it there in one step; whoever looks sees the old one or the new one."""
    beside = part.path.with_name(f".{part.path.name}.new")
    beside.unlink(missing_ok=True)
    try:
        if part.link_to is not None:
            beside.symlink_to(part.link_to)
        else:
            beside.write_bytes(part.content)
            beside.chmod(part.mode)
        beside.replace(part.path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise


def _digest(content: bytes, link_to: str | None) -> str:
    return f"link:{link_to}" if link_to is not None else hashlib.sha256(content).hexdigest()
