"""Ollama's store of models on the disk, as `ollama pull` leaves it."""

import hashlib
import json
from pathlib import Path
from typing import Any

IMAGE = "application/vnd.ollama.image."


def blob(store: Path, data: bytes) -> str:
    """Write a blob; its digest."""
    digest = hashlib.sha256(data).hexdigest()
    (store / "blobs").mkdir(parents=True, exist_ok=True)
    (store / "blobs" / f"sha256-{digest}").write_bytes(data)
    return f"sha256:{digest}"


def layer(store: Path, data: bytes, kind: str = "model") -> dict[str, Any]:
    """A layer with its blob."""
    return {"mediaType": IMAGE + kind, "digest": blob(store, data), "size": len(data)}


def manifest(*layers: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A manifest of layers."""
    config = {"mediaType": "application/vnd.docker.container.image.v1+json", "digest": "sha256:" + "0" * 64, "size": 2}
    kind = "application/vnd.docker.distribution.manifest.v2+json"
    return {"schemaVersion": 2, "mediaType": kind, "config": config, "layers": list(layers)} | more


def place(store: Path, name: str, tree: str = "manifests") -> Path:
    """Where the manifest of a name is."""
    path, _, tag = name.partition(":")
    parts = path.split("/")
    parts = [*["registry.ollama.ai", "library"][: 3 - len(parts)], *parts, tag or "latest"]
    at = store.joinpath(tree, *parts)
    at.parent.mkdir(parents=True, exist_ok=True)
    return at


def add(store: Path, name: str, *weights: bytes, tree: str = "manifests") -> Path:
    """Have a model in the store, of one file or of several layers; where its manifest is."""
    at = place(store, name, tree)
    at.write_text(json.dumps(manifest(*(layer(store, each) for each in weights))))
    return at
