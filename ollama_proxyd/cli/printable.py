"""Words of others on a terminal; core has the same for the log, but is not loaded to ask a daemon."""

from typing import Any


def printable(text: str, keep: str = "") -> str:
    """The text with a space for each character that is not printable; those of `keep` stay."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in keep else " " for each in text)


def printable_data(data: Any) -> Any:
    """The daemon's data with each text in one printable line: others chose some of its words."""
    if isinstance(data, str):
        return printable(data)
    if isinstance(data, list):
        return [printable_data(each) for each in data]
    if isinstance(data, dict):
        return {printable(key): printable_data(value) for key, value in data.items()}
    return data
