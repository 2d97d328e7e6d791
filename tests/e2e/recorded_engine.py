"""An engine that repeats recorded bytes, in pieces cut where it hurts, and keeps what it was sent."""

import itertools
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "recorded"
_CONTENT_TYPES = {"openai": "text/event-stream", "ollama": "application/x-ndjson"}
_CHAT_PATHS = {"/v1/chat/completions": "openai", "/api/chat": "ollama"}
_LISTS: dict[str, Any] = {
    "/health": {"status": "ok"},
    "/v1/models": {"object": "list", "data": [{"id": MODEL, "object": "model", "created": 1, "owned_by": "test"}]},
    "/api/version": {"version": "0.33.0"},
    "/api/tags": {"models": [{"name": MODEL, "model": MODEL, "size": 1, "digest": "0" * 64, "details": {}}]},
    "/api/ps": {"models": []},
}


class RecordedEngine(ThreadingHTTPServer):
    """Answers every chat with `pieces`, one transport chunk each, on HTTP/1.1; at an event it waits for it.

    With `one_chat_each` it hangs up, without a word, on the second chat that comes over one connection.
    """

    daemon_threads = True

    def __init__(self, pieces: Sequence[bytes | threading.Event], *, one_chat_each: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pieces = tuple(pieces)
        self.one_chat_each = one_chat_each
        self.hung_up = 0
        self.received: list[bytes] = []
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves is no error."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: RecordedEngine
    chats = 0

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self._say(_LISTS.get(self.path))

    def _say(self, found: Any) -> None:
        body = json.dumps(found or {"error": "no such path"}).encode()
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        if self.path not in _CHAT_PATHS:
            self.rfile.read(int(self.headers["Content-Length"]))
            self._say(None)
            return
        self.chats += 1
        if self.server.one_chat_each and self.chats > 1:
            self.server.hung_up += 1
            self.close_connection = True
            return
        self.server.received.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Type", _CONTENT_TYPES[_CHAT_PATHS[self.path]])
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in self.server.pieces:
            if isinstance(piece, threading.Event):
                piece.wait(30)
                continue
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")


def pieces_of(stream: bytes, *sizes: int) -> list[bytes]:
    """The stream cut into pieces of these sizes, over and over: inside words, signs and line ends."""
    pieces: list[bytes] = []
    start = 0
    for size in itertools.cycle(sizes):
        if start >= len(stream):
            return pieces
        pieces.append(stream[start : start + size])
        start += size
    return pieces


@contextmanager
def serving(engine: RecordedEngine) -> Iterator[RecordedEngine]:
    """The engine, answering in a thread for as long as the block lasts."""
    thread = threading.Thread(target=engine.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield engine
    finally:
        engine.shutdown()
        thread.join()
        engine.server_close()
