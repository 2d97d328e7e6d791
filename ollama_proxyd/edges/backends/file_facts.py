"""What the file of a model says that an engine on this machine has loaded."""

import asyncio
from pathlib import Path

from ollama_proxyd.core.requests import Json
from ollama_proxyd.edges.plumbing.gguf import GgufError, model_info


async def facts_of_file(path: str) -> dict[str, Json]:
    """Its facts under GGUF's names; nothing where it is elsewhere, as in a container, or cannot be read."""
    if not path.startswith("/"):
        return {}
    try:
        return await asyncio.to_thread(model_info, Path(path))
    except GgufError:
        return {}
