"""Every setting with the value that applies, as plain data in the shape of the file."""

from typing import Any

import msgspec

from ollama_proxyd.config.build import ROW_KEYS, mode_table
from ollama_proxyd.config.schema import FileConfig
from ollama_proxyd.core.modes import Mode


def effective(file: FileConfig) -> dict[str, Any]:
    """The file's content with the numbers of the modes filled in where the file is silent."""
    data: dict[str, Any] = msgspec.to_builtins(file)
    table = mode_table(file.efficiency.modes)
    data["efficiency"]["modes"] = {
        name: {theirs: getattr(table[Mode(name)], ours) for theirs, ours in ROW_KEYS.items()}
        for name in data["efficiency"]["modes"]
    }
    return data
