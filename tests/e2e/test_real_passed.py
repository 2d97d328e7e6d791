"""Reranking by a real llama-server beside one that lacks it; sound and images by OpenAI's own client."""

import io
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from threading import Thread
from typing import Any, ClassVar

import pytest

from tests.e2e.harness import StartDaemon, StartLlama, backend, config_of, llama

pytestmark = pytest.mark.real
SOUND = bytes(range(256)) * 4000


class _Media(BaseHTTPRequestHandler):
    """An engine of OpenAI's API with sound and images, as far as its clients need it."""

    protocol_version = "HTTP/1.1"
    forms: ClassVar[list[bytes]] = []

    def log_message(self, *_args: object) -> None:
        pass

    def do_GET(self) -> None:
        found = self.path == "/v1/models"
        listed = {"object": "list", "data": [{"id": "media", "object": "model", "owned_by": "x"}]}
        self._say(listed if found else {"detail": "Not Found"}, 200 if found else 404)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/v1/audio/speech":
            self._send(SOUND, "audio/mpeg")
        elif self.path.startswith("/v1/audio/"):
            self.forms.append(body)
            self._say({"text": "hello"})
        elif self.path == "/v1/images/generations":
            self._say({"created": 1, "data": [{"b64_json": "aGk="}]})
        else:
            self._say({"detail": "Not Found"}, 404)

    def _say(self, value: Any, status: int = 200) -> None:
        self._send(json.dumps(value).encode(), "application/json", status)

    def _send(self, body: bytes, kind: str, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def media() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Media)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_llama_server_ranks_where_another_does_not(start_llama: StartLlama, start_daemon: StartDaemon) -> None:
    ranker, chatter = start_llama("tiny", "--reranking").ready(), start_llama("tiny").ready()
    daemon = start_daemon(
        config_of(llama("chatter", chatter, hardware="npu"), llama("ranker", ranker, hardware="nvidia"))
    ).ready("tiny")
    asked = {"model": "tiny", "query": "a cat", "documents": ["a cat", "a car", "the sea"], "top_n": 2}
    for path in ("/v1/rerank", "/rerank", "/reranking", "/v1/reranking"):
        reply = daemon.post(path, asked)
        direct = ranker.post("/v1/rerank", asked)
        assert (reply.status, reply.headers["x-backend-used"]) == (200, "ranker"), reply.body
        assert reply.json()["results"] == direct.json()["results"]
        assert reply.json()["usage"] == direct.json()["usage"]
    assert daemon.backends()["chatter"]["health"] == "up"
    body = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}]}
    chat = daemon.post("/v1/chat/completions", body, {"X-Target-Backend": "chatter"})
    assert (chat.status, chat.headers["x-backend-used"]) == (200, "chatter")
    assert daemon.get("/status").json()["today"]["errors"] == 0


def test_openais_client_hears_speaks_and_draws(media: str, start_daemon: StartDaemon) -> None:
    library = import_module("openai")
    daemon = start_daemon(config_of(backend("media", media))).ready("media")
    with library.OpenAI(base_url=f"{daemon.url}/v1", api_key="none", max_retries=0) as client:
        file = ("a.mp3", io.BytesIO(SOUND))
        assert client.audio.transcriptions.create(file=file, model="media").text == "hello"
        assert SOUND in _Media.forms[-1]
        with client.audio.speech.with_streaming_response.create(model="media", voice="x", input="hello") as speech:
            assert b"".join(speech.iter_bytes()) == SOUND
        assert client.images.generate(model="media", prompt="a cat").data[0].b64_json == "aGk="
    today = daemon.get("/status").json()["today"]
    assert (today["requests"], today["errors"]) == (3, 0)
