"""Every setting with the value that applies, as plain data in the shape of the file."""

from typing import Any

import msgspec
from msgspec import structs

from ollama_proxyd.config.build import ROW_KEYS, mode_table
from ollama_proxyd.config.schema import FileConfig
from ollama_proxyd.core.modes import Mode


def effective(file: FileConfig) -> dict[str, Any]:
    """The file's content with the numbers of the modes filled in where the file is silent."""
    data: dict[str, Any] = msgspec.to_builtins(file)
    modes = file.efficiency.modes
    table = mode_table(modes)
    data["efficiency"]["modes"] = {
        mode.encode_name: {
            key.name: getattr(table[Mode(mode.encode_name)], ROW_KEYS[key.name])
            for key in structs.fields(getattr(modes, mode.name))
        }
        for mode in structs.fields(modes)
    }
    return data
