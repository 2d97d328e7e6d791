"""GET /openapi.json and /docs: every route and nothing else, from the structs that bodies are read into."""

import re
from typing import Any

import pytest
from aiohttp import hdrs

from ollama_proxyd.edges.http_api.openapi import CALLS
from ollama_proxyd.edges.http_api.settings import ServerSettings
from tests.edges.http_api.conftest import Serve, Site


async def document(site: Site) -> Any:
    answer = await site.get("/openapi.json")
    assert (answer.status, answer.json["openapi"]) == (200, "3.1.0")
    return answer.json


def routes_of(site: Site) -> set[tuple[str, str]]:
    """Each route as the server has it; HEAD goes with GET."""
    found = set()
    for route in site.server._app.router.routes():
        assert route.resource is not None
        has_get = any(each.method == hdrs.METH_GET for each in route.resource)
        if route.method != hdrs.METH_HEAD or not has_get:
            found.add((route.method.lower(), route.resource.canonical.replace("{slashes}", "")))
    return found


async def test_every_route_is_told_and_nothing_else(serve: Serve) -> None:
    site = await serve()
    told = await document(site)
    assert {(method, path) for path, methods in told["paths"].items() for method in methods} == routes_of(site)


async def test_the_table_of_calls_has_no_other_paths(serve: Serve) -> None:
    assert set(CALLS) <= set((await document(await serve()))["paths"])


async def test_each_call_has_words_its_path_parameters_and_an_answer(serve: Serve) -> None:
    for path, methods in (await document(await serve()))["paths"].items():
        for operation in methods.values():
            assert operation["summary"].endswith("."), path
            given = [each["name"] for each in operation["parameters"] if each.get("in") == "path"]
            assert given == re.findall(r"\{([a-z_]+)\}", path)
            assert operation["responses"]["200"]["content"]


def refs_in(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*(refs_in(each) for each in value.values()))
    return set().union(*(refs_in(each) for each in value)) if isinstance(value, list) else set()


async def test_every_reference_leads_somewhere(serve: Serve) -> None:
    told = await document(await serve())
    assert refs_in(told)
    for ref in refs_in(told):
        at: Any = told
        for part in ref.removeprefix("#/").split("/"):
            at = at[part]
        assert at


async def test_a_body_is_what_it_is_read_into(serve: Serve) -> None:
    told = await document(await serve())
    chat = told["paths"]["/v1/chat/completions"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    fields = {name for part in chat["allOf"] for name in schema_at(told, part)["properties"]}
    assert {"model", "messages", "tools", "stream", "max_tokens"} <= fields
    form = told["paths"]["/v1/audio/transcriptions"]["post"]["requestBody"]["content"]
    assert list(form) == ["multipart/form-data"]


def schema_at(told: Any, part: Any) -> Any:
    return told["components"]["schemas"][part["$ref"].rpartition("/")[2]]


async def test_the_page_is_of_our_own_files_alone(serve: Serve) -> None:
    answer = await (await serve()).get("/docs")
    text = answer.body.decode()
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "<script" not in text
    assert "style=" not in text
    assert re.findall(r"(?:https?:)?//[a-z0-9]", text) == []
    assert "/v1/chat/completions" in text
    assert "{backend_id}" in text


@pytest.mark.parametrize("path", ["/openapi.json", "/docs"])
async def test_both_need_no_token_since_they_tell_nothing_of_anybody(serve: Serve, path: str) -> None:
    site = await serve(listen=ServerSettings(port=0, token="secret", drain_s=0.2))
    assert (await site.get(path)).status == 200
