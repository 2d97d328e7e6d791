"""When two model names mean the same model: Ollama's tag default, without regard to case."""

from collections.abc import Iterable


def canonical(name: str) -> str:
    """The name in lower case with Ollama's default tag `latest` made explicit."""
    lowered = name.strip().lower()
    last = lowered.rsplit("/", 1)[-1]
    return lowered if ":" in last else lowered + ":latest"


def resolve(asked: str, held: Iterable[str]) -> str | None:
    """The backend's own name for the model that was asked for, an exact match first, or None."""
    names = tuple(held)
    if asked in names:
        return asked
    wanted = canonical(asked)
    spellings = (wanted, wanted.removesuffix(":latest"))
    for spelling in spellings:  # most names are in lower case, and this finds one among many without a look at each
        if spelling in names:
            return spelling
    return next((name for name in names if name.lower() in spellings), None)
