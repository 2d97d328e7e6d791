"""The tiny model that every real engine here serves: its file, and the words that it is known to say."""

from pathlib import Path
from typing import Any

from scripts import make_tiny_gguf

REPLY = make_tiny_gguf.REPLY
THINK = make_tiny_gguf.THINK
REPLY_TOKENS = 50
THINK_TOKENS = 11  # THINK and the end of thinking
HELLO = [{"role": "user", "content": "hello"}]
WEATHER_TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather to come.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "enum": ["Paris", "Oslo"]},
                "days": {"type": "integer", "minimum": 1, "maximum": 9},
            },
            "required": ["city", "days"],
        },
    },
}
SCHEMA = {
    "type": "object",
    "properties": {"ok": {"type": "boolean"}, "n": {"type": "integer", "minimum": 0, "maximum": 99}},
    "required": ["ok", "n"],
}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGBgAAAABQABpfZFQAAAAABJRU5ErkJggg=="


def build(path: Path) -> Path:
    """Write the model's file."""
    make_tiny_gguf.build(path)
    return path
