"""What a server answers to Ollama's calls that change models, whichever way it says no."""

import json
from typing import Any

import pytest

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.management import Managed, Management
from ollama_proxyd.core.requests import Api
from ollama_proxyd.edges.backends.backend import EngineBackend
from tests.upstreams.engines import ollama
from tests.upstreams.fake_engines import Says, a_client, serving, spec_of


async def told(says: Says, method: str = "POST", path: str = "/api/pull") -> tuple[Managed, bytes, str]:
    """How the answer begins, its body, and the server's address."""
    engine = ollama()
    engine.routes |= {f"{method} {path}": says}
    async with serving(engine), a_client() as client:
        backend = EngineBackend(spec_of(engine.url, Api.OLLAMA, "ollama"), client)
        head, *pieces = [each async for each in backend.manage(Management(method, path, b"{}"))]
    assert isinstance(head, Managed)
    return head, b"".join(each for each in pieces if isinstance(each, bytes)), engine.url


@pytest.mark.parametrize(
    ("says", "error"),
    [
        (Says(b"404: Not Found", 404), "has no POST /api/pull (404: Not Found)"),
        (Says(b"404 page not found\n", 404), "has no POST /api/pull (404: page not found)"),
        (Says(b"", 405), "has no POST /api/pull (405)"),
        (Says(b"<html>\n<b>Bad Gateway</b></html>", 502), "refused (502: <html> <b>Bad Gateway</b></html>)"),
        (Says({"error": {"message": "no disk", "code": 507}}, 500), "refused (500: no disk)"),
        (Says({"detail": "Not Found"}, 404), "has no POST /api/pull (404: Not Found)"),
        (Says({"error": {"message": "no model x"}}, 404), "refused (404: no model x)"),
        (Says(b"[1]", 500), "refused (500: [1])"),
    ],
)
async def test_an_error_of_another_form_is_one_that_ollama_s_clients_read(says: Says, error: str) -> None:
    head, body, url = await told(says)
    assert head == Managed(says.status, "application/json")
    assert json.loads(body)["error"] == f"backend it at {url} {error}"


LINES = b'{"status":"pulling manifest"}\n{"status":"pulling a","total":9,"completed":9}\n{"status":"success"}\n'


@pytest.mark.parametrize("path", ["/api/pull", "/api/push", "/api/create"])
@pytest.mark.parametrize("sent", [LINES, LINES.strip(), b"404\n" + LINES, LINES.replace(b"\n", b"\n\nnull\n")])
async def test_progress_passes_line_by_line_without_what_is_none(path: str, sent: bytes) -> None:
    _, body, _ = await told(Says(sent), path=path)
    assert body == LINES


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"\n",
        b"<html>Sign in</html>",
        b"[1]\n",
        b'{"status":"a"}\n{"status":"succ',
        b'{"status":"pulling a","total":9,"completed":5}\n',
        b'{"status":"pulling a","total":9}\n',
    ],
)
async def test_an_answer_that_tells_nothing_or_ends_within_is_no_success(sent: bytes) -> None:
    with pytest.raises(ProxyError) as caught:
        await told(Says(sent))
    assert caught.value.kind is ErrorKind.UPSTREAM_FAILED


async def test_an_error_among_the_lines_is_one_that_ollama_s_clients_read() -> None:
    _, body, _ = await told(Says(b'{"status":"a"}\n{"error":{"message":"no space left"}}\n'))
    assert [json.loads(each) for each in body.splitlines()] == [{"status": "a"}, {"error": "no space left"}]


async def test_what_is_answered_by_a_status_alone_needs_no_words() -> None:
    head, body, _ = await told(Says(b""), path="/api/copy")
    assert (head.status, body) == (200, b"")


async def test_ollama_s_own_error_passes_as_it_is() -> None:
    own = b'{ "error":"model \'x\' not found" }'
    head, body, _ = await told(Says(own, 404, {"Content-Type": "application/json; charset=utf-8"}))
    assert (head, body) == (Managed(404, "application/json"), own)


@pytest.mark.parametrize("body", [b"404 page not found", {"error": "x"}])
async def test_whether_a_file_is_there_is_told_without_words(body: Any) -> None:
    head, told_body, _ = await told(Says(body, 404), "HEAD", "/api/blobs/sha256:a")
    assert (head.status, told_body) == (404, b"")
