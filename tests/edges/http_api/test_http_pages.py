"""The pages for people: our own files alone, which any browser here may open and no other site may use."""

import gzip
import re

import pytest

from ollama_proxyd.edges.http_api.pages import FILES, FOLDER, FRAME, ICONS, PAGES, content, squeezed
from ollama_proxyd.edges.http_api.settings import ServerSettings
from tests.edges.http_api.conftest import Answer, Serve

TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
BROWSERS = [
    "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",  # Firefox
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8",  # Chromium
    "text/html, */*",
]
PROGRAMS = [
    None,
    "*/*",
    "application/json",
    "text/*",
    "application/json, text/plain, */*",
    "text/htmlx",
    "text/html;q=0, */*",
]


def texts() -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()}


def unpacked(answer: Answer) -> bytes:
    """The file that was sent, compressed or not."""
    return gzip.decompress(answer.body) if answer.headers.get("Content-Encoding") == "gzip" else answer.body


def test_every_file_of_the_pages_is_served_and_no_other() -> None:
    assert {*FILES.values(), FRAME, ICONS} == set(texts())


@pytest.mark.parametrize("path", FILES)
async def test_each_file_has_its_type_and_the_strict_policy(serve: Serve, path: str) -> None:
    answer = await (await serve()).get(path)
    assert answer.status == 200
    assert answer.headers["Content-Type"].split(";")[0] == TYPES["." + FILES[path].rpartition(".")[2]]
    policy = dict(part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["form-action"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["img-src"] == "'self' blob:"
    assert (policy["require-trusted-types-for"], policy["trusted-types"]) == ("'script'", "rendered")
    assert not {"unsafe-inline", "unsafe-eval", "http:", "https:", "data:", "*"} & set(re.split(r"[ ;']+", str(policy)))
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert unpacked(answer) == content(FILES[path])


@pytest.mark.parametrize("accept", BROWSERS)
async def test_a_browser_is_given_the_chat_page(serve: Serve, accept: str) -> None:
    site = await serve(listen=ServerSettings(port=0, token="secret", drain_s=0.2))
    answer = await site.get("/", headers={"Accept": accept})
    assert (answer.status, unpacked(answer)) == (200, content("chat.html"))
    assert answer.headers["Vary"] == "Accept, Accept-Encoding"
    assert "script-src 'self'" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize("accept", PROGRAMS)
async def test_everybody_else_is_told_that_ollama_is_running(serve: Serve, accept: str | None) -> None:
    site = await serve()
    answer = await site.get("/", headers={"Accept": accept} if accept else {}, skip_auto_headers=("Accept",))
    assert (answer.status, answer.body) == (200, b"Ollama is running")
    guarded = await serve(listen=ServerSettings(port=0, token="secret", drain_s=0.2))
    assert (await guarded.get("/", headers={"Accept": accept} if accept else {})).status == 401


def test_the_pages_have_no_scripts_styles_or_handlers_within() -> None:
    for name in PAGES.values():
        page = content(name).decode()
        assert re.findall(r"<script(?![^>]* src=)", page) == []
        assert "<style" not in page
        assert re.findall(r"\s(on[a-z]+|style)=", page) == []
        assert "{{" not in page


def test_the_pages_load_nothing_from_elsewhere_and_only_what_is_there() -> None:
    for name, text in texts().items():
        without_names = text.replace("http://www.w3.org/2000/svg", "")
        assert re.findall(r"(?:https?:)?//[a-z0-9]", without_names.replace("// ", "")) == [], name
        used = {*re.findall(r'(?:src|href)="(/ui/[^"#]+)"', text), *re.findall(r'from "\.(/[^"]+)"', text)}
        assert {each if each.startswith("/ui/") else f"/ui{each}" for each in used} <= set(FILES), name


def test_the_scripts_write_markup_in_one_place_through_the_one_policy() -> None:
    found = {
        name: re.findall(
            r"innerHTML = \S+|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|srcdoc", text
        )
        for name, text in texts().items()
    }
    assert {name for name, places in found.items() if places} == {"rendered.js"}
    assert all(place.startswith("innerHTML = policy.createHTML(") for place in found["rendered.js"])


def test_all_pages_together_in_all_languages_are_smaller_than_a_first_page_may_be() -> None:
    assert sum(len(squeezed(name)) for name in set(FILES.values())) < 150_000


@pytest.mark.parametrize(
    ("accepts", "is_squeezed"),
    [("gzip, deflate, br, zstd", True), ("GZIP;q=0.5", True), ("br", False), ("gzip;q=0, *", False), ("", False)],
)
async def test_a_file_is_compressed_for_those_that_take_it(serve: Serve, accepts: str, is_squeezed: bool) -> None:
    answer = await (await serve()).get("/ui/chat.js", headers={"Accept-Encoding": accepts})
    assert ("Content-Encoding" in answer.headers) == is_squeezed
    assert (answer.headers["Vary"], unpacked(answer)) == ("Accept-Encoding", content("chat.js"))


async def test_with_a_token_the_pages_open_and_the_status_does_not(serve: Serve) -> None:
    site = await serve(listen=ServerSettings(port=0, token="secret", drain_s=0.2))
    for path in FILES:
        assert (await site.get(path)).status == 200
    for path in ("/status", "/dashboard/", "/dashboard/../status", "/requests", "/ui/"):
        assert (await site.get(path)).status == 401
    assert (await site.post("/ui/render", {"text": "a"})).status == 401


@pytest.mark.parametrize("path", ["/", *FILES])
@pytest.mark.parametrize(
    "headers", [{"Host": "evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://evil.example"}]
)
async def test_other_sites_get_no_file_of_them(serve: Serve, path: str, headers: dict[str, str]) -> None:
    assert (await (await serve()).get(path, headers={"Accept": "text/html", **headers})).status == 403
