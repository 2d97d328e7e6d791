"""The JSON Schema of the file, from which editors complete and check it."""

from typing import Any

import msgspec

from ollama_proxyd.config.effective import effective
from ollama_proxyd.config.schema import FileConfig
from ollama_proxyd.config.schema_efficiency import Modes

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """The schema as plain data."""
    schema = {"$schema": DIALECT, "title": "ollama-proxyd configuration", **msgspec.json.schema(FileConfig)}
    modes = schema["$defs"][Modes.__name__]["properties"]
    for name, row in effective(FileConfig())["efficiency"]["modes"].items():
        modes[name]["default"] = row
    return schema


def render() -> str:
    """The schema as the text of config/schema.json."""
    return msgspec.json.format(msgspec.json.encode(json_schema()), indent=2).decode() + "\n"
