"""POST /ui/render: whatever a model says becomes harmless HTML, in a process of its own, or is refused soon."""

import asyncio
import json
import re
import subprocess
import sys
import time
from typing import Any

import psutil
import pytest

from ollama_proxyd.edges.http_api import markdown, renderer
from ollama_proxyd.edges.http_api.renderer import MOST_CHARACTERS, RENDERER
from tests.edges.http_api.conftest import Serve, Site

HARMLESS = re.compile(
    r"</?(p|h3|h4|h5|h6|ul|ol|li|blockquote|hr|br|pre|code|em|strong|s|table|thead|tbody|tr|th|td|span|a)"
    r'( (class|start)="[a-z0-9]+"| href="(https?|mailto):[^"]*"| target="_blank"| rel="noopener noreferrer")*>'
)


def html(text: str) -> str:
    return "".join(block["html"] for block in markdown.blocks(text))


def asked(text: str) -> Any:
    return json.loads(markdown.answer(json.dumps(text).encode()))["blocks"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("**a** _b_ `c` ~~d~~", "<p><strong>a</strong> <em>b</em> <code>c</code> <s>d</s></p>\n"),
        ("# A", "<h3>A</h3>\n"),
        ("###### A", "<h6>A</h6>\n"),
        ("3. a\n4. b", '<ol start="3">\n<li>a</li>\n<li>b</li>\n</ol>\n'),
        ("$a_1 + b_1$", "<p>$a_1 + b_1$</p>\n"),
        ("```python\nif 1:\n```", '<pre><code><span class="k">if</span> <span class="mi">1</span>'),
        ("```nosuchlanguage\n<b>\n```", "<pre><code>&lt;b&gt;\n</code></pre>\n"),
        ("|a|\n|-:|\n|1|", '<td class="right">1</td>'),
    ],
)
def test_markdown_becomes_html(text: str, shown: str) -> None:
    assert shown in html(text)


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "<svg/onload=alert(1)>",
        "[a](javascript:alert(1))",
        "[a](JaVaScRiPt:alert(1))",
        "[a](data:text/html,x)",
        "[a](vbscript:x)",
        "[a](/api/delete)",
        "[a](//evil.example)",
        "<javascript:alert(1)>",
        '[a](https://x.example "onclick=alert(1)")',
        "![a](https://evil.example/pixel.png)",
        "```html\n<script>alert(1)</script>\n```",
        '```"><script>\nx\n```',
        "[a]: javascript:alert(1)\n\n[a]",
        "<style>*{}</style><iframe src=https://x.example>",
        "<a id=content name=chat href=https://x.example>",
        "\u0000<b>\ufffe",
        "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
        '<noscript><p title="</noscript><img src=x onerror=alert(1)>">',
        "<svg><animate onbegin=alert(1)></svg><svg><use href=data:image/svg+xml,x></svg>",
        "[a](&#106;avascript:alert(1)) [a](java&#x0A;script:alert(1)) &lt;script&gt;",
        "[a](blob:https://x.example/1) [a](file:///etc/passwd) [a](#content) [a](?a=1)",
        '<https://x.example/"onmouseover=alert(1)>',
    ],
)
def test_no_answer_becomes_anything_but_harmless_html(text: str) -> None:
    made = html(text)
    assert re.sub(HARMLESS, "", made).count("<") == 0, made
    assert not re.findall(r'href="(?!https://x\.example|https://evil\.example/pixel\.png)', made)


def test_signs_that_turn_the_direction_are_left_out() -> None:
    assert html("a\u202eb\u2066c\u202c\u2069 `\u202ed`") == "<p>abc <code>d</code></p>\n"
    assert html("a&#x202E;b&#8294;c") == "<p>abc</p>\n", "as entities too"


def test_each_block_says_where_it_ends() -> None:
    text = "# A\n\n- b\n- c\n\n```\nd\n\n\ne\n```\nf"
    assert [(each["html"][:3], each["end"]) for each in markdown.blocks(text)] == [
        ("<h3", 1),
        ("<ul", 5),
        ("<pr", 11),
        ("<p>", 12),
    ]


@pytest.mark.parametrize(
    "text",
    [
        ">" * MOST_CHARACTERS,
        "- " * (MOST_CHARACTERS // 2),
        "\n".join("  " * depth + "- x" for depth in range(139)),
        "a" * MOST_CHARACTERS,
        "<" * MOST_CHARACTERS,
        "|" + "a|" * 999 + "\n|" + "-|" * 999 + "\n" + "|\n" * 999,
        "```html\n" + "<a " * 6000 + "\n```",
        "[a]: b\n" * 2500,
    ],
)
def test_hostile_shapes_stay_small_or_are_left_as_text(text: str) -> None:
    made = asked(text)
    assert made is None or sum(len(each["html"]) for each in made) <= markdown.MOST_HTML


async def render(site: Site, text: str) -> Any:
    return await site.post("/ui/render", {"text": text})


def worker_of(site: Site) -> int | None:
    return site.server._app[RENDERER].pid


def is_gone(pid: int) -> bool:
    """Whether a process ends within ten seconds."""
    deadline_s = time.monotonic() + 10
    while psutil.pid_exists(pid) and time.monotonic() < deadline_s:
        time.sleep(0.01)
    return not psutil.pid_exists(pid)


async def test_the_worker_lives_only_while_somebody_asks(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    site = await serve()
    assert worker_of(site) is None
    answer = await render(site, "*a*")
    assert (answer.status, answer.json) == (200, {"blocks": [{"html": "<p><em>a</em></p>\n", "end": 1}]})
    pid = worker_of(site)
    assert pid is not None
    assert "ollama_proxyd.edges.http_api.markdown" in psutil.Process(pid).cmdline()
    assert (await render(site, "b")).status == 200
    assert worker_of(site) == pid
    monkeypatch.setattr(renderer, "IDLE_S", 0.01)
    await render(site, "c")
    assert await asyncio.to_thread(is_gone, pid)
    assert worker_of(site) is None


async def test_many_texts_at_once_are_each_answered_with_their_own(serve: Serve) -> None:
    site = await serve()
    answers = await asyncio.gather(*(render(site, f"text {number}") for number in range(renderer.MOST_WAITING)))
    assert [each.json["blocks"][0]["html"] for each in answers] == [
        f"<p>text {number}</p>\n" for number in range(renderer.MOST_WAITING)
    ]


async def test_a_text_that_takes_long_costs_a_worker_and_no_more(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    site = await serve()
    await render(site, "warm")
    pid = worker_of(site)
    monkeypatch.setattr(renderer, "DEADLINE_S", 0.0)
    answer = await render(site, "[" * 5000)
    assert (answer.status, answer.json["kind"]) == (503, "unavailable")
    monkeypatch.undo()
    assert (await render(site, "after")).json["blocks"][0]["html"] == "<p>after</p>\n"
    assert worker_of(site) != pid


async def test_a_client_that_leaves_lets_the_next_have_its_own_answer(serve: Serve) -> None:
    site = await serve()
    await render(site, "warm")
    gone = asyncio.create_task(render(site, "[" * MOST_CHARACTERS))
    await asyncio.sleep(0.05)
    gone.cancel()
    assert (await render(site, "next")).json["blocks"][0]["html"] == "<p>next</p>\n"


async def test_what_is_too_long_or_no_text_is_refused_by_name(serve: Serve) -> None:
    site = await serve()
    too_long = await render(site, "a" * (MOST_CHARACTERS + 1))
    assert (too_long.status, too_long.json["param"]) == (413, "text")
    assert (await site.post("/ui/render", {"text": 1})).json["param"] == "text"
    assert (await site.post("/ui/render", {})).status == 400
    assert worker_of(site) is None


async def test_the_worker_ends_with_the_server(serve: Serve) -> None:
    site = await serve()
    await render(site, "a")
    pid = worker_of(site)
    await site.server.stop()
    assert pid is not None
    assert not psutil.pid_exists(pid)


def test_nothing_of_it_is_in_the_daemon_itself() -> None:
    program = "import sys, ollama_proxyd.edges.http_api.server; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"markdown_it", "pygments", "nh3"} & set(done.stdout.split())
