"""Counts as people write them."""

_UNITS = ((10**9, "B"), (10**6, "M"), (10**3, "K"))


def human_count(number: int | None) -> str | None:
    """Parameters as Ollama writes them: 163K, 7B, 1.5B."""
    if number is None:
        return None
    for unit, letter in _UNITS:
        if number >= unit:
            exact = number % unit == 0 or letter == "K"
            return f"{number / unit:.0f}{letter}" if exact else f"{number / unit:.1f}{letter}"
    return str(number)
