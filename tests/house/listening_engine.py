"""An engine with one model that prints the headers of each chat: python listening_engine.py PORT."""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODELS = {"object": "list", "data": [{"id": "listener", "object": "model", "owned_by": "test"}]}
MESSAGE = {"role": "assistant", "content": "I hear you."}
ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "listener",
    "choices": [{"index": 0, "message": MESSAGE, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
}


class Engine(BaseHTTPRequestHandler):
    """Tells its model, and answers any chat alike."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/v1/models":
            self._answer(MODELS)
        else:
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        sys.stdout.write(json.dumps({name.lower(): each for name, each in self.headers.items()}) + "\n")
        sys.stdout.flush()
        self._answer(ANSWER)

    def _answer(self, told: Any) -> None:
        body = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing beside the headers is printed."""


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Engine).serve_forever()
