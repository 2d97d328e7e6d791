"""Run inside the box: an Ollama whose only model lies in the GPU's memory as far as a file says, in percent.

usage: ollama_in_box.py PORT FILE SPEED
With all of it there it writes SPEED tokens a second by its own account, else 5.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

MODEL = "tiny"
SIZE_BYTES = 1_000_000_000
TOKENS = 20
PORT, VRAM, TPS = int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
ENTRY = {"name": MODEL, "model": MODEL, "digest": "0" * 64, "size": SIZE_BYTES, "details": {}}


def vram_percent() -> int:
    return int(VRAM.read_text(encoding="utf-8"))


def answered() -> list[dict[str, Any]]:
    """The answer to any chat, in two parts."""
    decode_s = TOKENS / (TPS if vram_percent() == 100 else 5)
    said = {"model": MODEL, "created_at": "2026-01-01T00:00:00Z", "message": {"role": "assistant", "content": "hello"}}
    counted = {"prompt_eval_count": 5, "prompt_eval_duration": 10_000_000, "eval_count": TOKENS}
    end = {"done": True, "done_reason": "stop", "eval_duration": int(decode_s * 1e9), **counted}
    return [{**said, "done": False}, {**said, "message": {"role": "assistant", "content": ""}, **end}]


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Say what there is."""
        loaded = {**ENTRY, "size_vram": SIZE_BYTES * vram_percent() // 100, "expires_at": "2099-01-01T00:00:00Z"}
        answers: dict[str, Any] = {
            "/api/version": {"version": "0.12.0"},
            "/api/tags": {"models": [ENTRY]},
            "/api/ps": {"models": [loaded]},
        }
        self._send(200 if self.path in answers else 404, answers.get(self.path, {"error": "not found"}))

    def do_POST(self) -> None:
        """Describe the model, or answer."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/api/show":
            self._send(200, {"details": {}, "model_info": {}, "capabilities": ["completion"]})
        elif asked.get("stream", True):
            self._send(200, *answered(), kind="application/x-ndjson")
        else:
            self._send(200, {**answered()[1], "message": answered()[0]["message"]})

    def _send(self, status: int, *lines: dict[str, Any], kind: str = "application/json") -> None:
        body = "".join(f"{json.dumps(line)}\n" for line in lines).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the base
        """Nobody wants to know."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
