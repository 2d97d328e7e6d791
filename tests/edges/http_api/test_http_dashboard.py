"""GET /dashboard: a page of our own files alone, which any browser here may open and no other site may use."""

import re

import pytest

from ollama_proxyd.edges.http_api.dashboard import FILES, FOLDER
from ollama_proxyd.edges.http_api.settings import ServerSettings
from tests.edges.http_api.conftest import Serve

TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


def texts() -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()}


def test_every_file_of_the_page_is_served_and_no_other() -> None:
    assert {file.name for file in FILES.values()} == set(texts())


@pytest.mark.parametrize("path", FILES)
async def test_each_file_has_its_type_and_the_strict_policy(serve: Serve, path: str) -> None:
    answer = await (await serve()).get(path)
    assert answer.status == 200
    assert answer.headers["Content-Type"].split(";")[0] == TYPES["." + FILES[path].name.rpartition(".")[2]]
    policy = dict(part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["form-action"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert not {"unsafe-inline", "unsafe-eval", "http:", "https:", "data:", "*"} & set(re.split(r"[ ;']+", str(policy)))
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.body == (FILES[path]).read_bytes()


def test_the_page_has_no_scripts_styles_or_handlers_within() -> None:
    page = texts()["dashboard.html"]
    assert re.findall(r"<script(?![^>]* src=)", page) == []
    assert "<style" not in page
    assert re.findall(r"\s(on[a-z]+|style)=", page) == []


def test_the_page_loads_nothing_from_elsewhere() -> None:
    for name, text in texts().items():
        without_names = text.replace("http://www.w3.org/2000/svg", "")
        assert re.findall(r"(?:https?:)?//[a-z0-9]", without_names.replace("// ", "")) == [], name
    used = re.findall(r'(?:src|href)="([^"#]+)"', texts()["dashboard.html"])
    imported = re.findall(r'from "\./([^"]+)"', texts()["main.js"])
    assert {*used, *(f"/dashboard/{name}" for name in imported)} == set(FILES) - {"/dashboard"}


def test_the_scripts_never_write_markup() -> None:
    for name, text in texts().items():
        assert re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", text) == [], (
            name
        )


async def test_with_a_token_the_page_opens_and_the_status_does_not(serve: Serve) -> None:
    site = await serve(listen=ServerSettings(port=0, token="secret", drain_s=0.2))
    for path in FILES:
        assert (await site.get(path)).status == 200
    assert (await site.get("/status")).status == 401
    assert (await site.get("/dashboard/")).status == 401
    assert (await site.get("/dashboard/../status")).status == 401


@pytest.mark.parametrize("path", FILES)
@pytest.mark.parametrize(
    "headers", [{"Host": "evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://evil.example"}]
)
async def test_other_sites_get_no_file_of_it(serve: Serve, path: str, headers: dict[str, str]) -> None:
    assert (await (await serve()).get(path, headers=headers)).status == 403
