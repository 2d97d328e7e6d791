"""The chat page in a real browser: real engines, and what goes on around an answer."""

import json
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.e2e import tiny_model
from tests.e2e.browser.conftest import Engine, answered, scripted, send
from tests.e2e.harness import Daemon, StartDaemon, wait_until

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("browser"), pytest.mark.timeout(120)]


def choose(page: Any, model: str) -> None:
    page.locator("#model").click()
    page.locator(f'.choice[data-model^="{model}"] .where', has_text="J").wait_for()
    page.locator(f'.choice[data-model^="{model}"]').click()


def test_a_real_engine_answers_and_the_page_tells_what_it_took_and_why(visit: Any, daemon: Daemon) -> None:
    page = visit(daemon).open()
    choose(page, "calm")
    send(page, "hello")
    answered(page)
    last = page.locator(".message.assistant").last
    expect(last.locator(".answer")).to_have_text(tiny_model.REPLY)
    expect(last.locator(".figures-line")).to_contain_text(f"{tiny_model.REPLY_TOKENS} tokens")
    for told in ("talker", " J", "tokens/s", "first after"):
        expect(last.locator(".figures-line")).to_contain_text(told)
    last.locator(".why-here summary").click()
    expect(last.locator(".why-here th", has_text="talker")).to_be_visible()
    page.reload()
    page.locator("#list .open").click()
    expect(page.locator(".answer")).to_have_text(tiny_model.REPLY)
    assert page.title() == "Chat · ollama-proxyd"


def test_thinking_is_folded_and_tool_calls_are_shown(visit: Any, daemon: Daemon) -> None:
    page = visit(daemon).open()
    choose(page, "tiny")
    send(page, "hello")
    answered(page)
    thinking = page.locator(".thinking").last
    expect(thinking.locator(".thoughts")).to_be_hidden()
    thinking.locator("summary").click()
    expect(thinking.locator(".thoughts")).to_contain_text(tiny_model.THINK)
    page.locator("#new").click()
    choose(page, "calm")
    page.locator("#tune").click()
    page.locator("#tools").fill("[" + json.dumps(tiny_model.WEATHER_TOOL) + "]")
    page.locator("#tune-form .primary").click()
    send(page, "weather")
    answered(page)
    expect(page.locator(".call")).to_contain_text("get_weather")
    page.locator(".call textarea").fill("sunny")
    page.get_by_text("Give the results").click()
    answered(page)
    expect(page.locator(".message.tool")).to_contain_text("sunny")


def test_system_prompt_and_parameters_are_sent_and_only_those(
    visit: Any, engine: Engine, scripted_daemon: Daemon
) -> None:
    page = visit(scripted_daemon).open()
    send(page, "one")
    answered(page)
    plain = engine.script.asked[-1]
    assert not {"temperature", "top_p", "seed", "max_tokens"} & set(plain)
    page.locator("#tune").click()
    page.locator("#system").fill("Be brief.")
    page.locator("#option-temperature").fill("0")
    page.locator("#option-num_predict").fill("77")
    page.locator("#tune-form .primary").click()
    send(page, "two")
    answered(page)
    sent = engine.script.asked[-1]
    assert sent["messages"][0] == {"role": "system", "content": "Be brief."}
    assert [each["role"] for each in sent["messages"]] == ["system", "user", "assistant", "user"]
    assert (sent["temperature"], sent["max_tokens"]) == (0, 77)
    page.locator("#new").click()
    send(page, "three")
    answered(page)
    assert engine.script.asked[-1]["messages"] == [{"role": "user", "content": "three"}]


def test_an_answer_is_stopped_edited_and_given_again(visit: Any, engine: Engine, scripted_daemon: Daemon) -> None:
    engine.script.says("Half an ", "answer", holds_after=1)
    page = visit(scripted_daemon).open()
    send(page, "first words")
    expect(page.locator(".answer")).to_have_text("Half an")
    page.keyboard.press("Escape")
    expect(page.locator(".trouble")).to_have_text("Stopped.")
    engine.script.says("Whole.")
    page.get_by_label("Answer again").click()
    answered(page)
    expect(page.locator(".answer")).to_have_text("Whole.")
    page.locator(".message.user").hover()
    page.get_by_label("Edit", exact=True).click()
    expect(page.locator("#words")).to_have_value("first words")
    send(page, "other words")
    answered(page)
    assert [each.inner_text() for each in page.locator(".bubble").all()] == ["other words"]
    assert engine.script.asked[-1]["messages"] == [{"role": "user", "content": "other words"}]


def test_a_page_that_is_reloaded_keeps_what_was_said_and_the_engine_is_let_go(
    visit: Any, engine: Engine, scripted_daemon: Daemon
) -> None:
    engine.script.says("Said before. ", "Never said.", holds_after=1)
    page = visit(scripted_daemon).open()
    send(page, "go")
    expect(page.locator(".answer")).to_have_text("Said before.")
    page.reload()
    page.locator("#list .open").click()
    expect(page.locator(".answer")).to_have_text("Said before.")
    expect(page.locator(".trouble")).to_contain_text("broke off")
    wait_until(lambda: scripted_daemon.in_flight() == {"scripted": 0}, "nothing is under way")


def test_the_mode_is_switched_while_an_answer_comes(visit: Any, engine: Engine, scripted_daemon: Daemon) -> None:
    engine.script.says("One, ", "two.", holds_after=1)
    page = visit(scripted_daemon).open()
    send(page, "go")
    expect(page.locator(".answer")).to_have_text("One,")
    page.locator("#mode").select_option("Efficiency")
    wait_until(lambda: scripted_daemon.get("/efficiency").json()["mode"] == "Efficiency", "the mode is chosen")
    engine.script.go_on.set()
    answered(page)
    expect(page.locator(".answer")).to_have_text("One, two.")
    page.locator("#mode").select_option("Balanced")
    wait_until(lambda: scripted_daemon.get("/efficiency").json()["mode"] == "Balanced", "the mode is chosen")


def test_code_that_is_longer_than_what_is_rendered_at_once_is_one_piece_of_code(
    visit: Any, engine: Engine, scripted_daemon: Daemon
) -> None:
    window = visit(scripted_daemon)
    window.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = window.open()
    lines = [f"number_{at} = {at}  # a line of a long program\n" for at in range(1_000)]
    engine.script.says("Look:\n\n", "```python\n", *lines, "```\n\n", "And *that* is all.")
    send(page, "go")
    answered(page)
    expect(page.locator(".answer em")).to_have_text("that")
    expect(page.locator(".answer pre")).to_have_count(1)
    page.locator(".copy-code").click()
    expect(page.locator(".copy-code")).to_have_text("✓")
    assert page.evaluate("navigator.clipboard.readText()") == "".join(lines)


def test_two_tabs_share_their_conversations_and_neither_disturbs_the_other(
    visit: Any, engine: Engine, scripted_daemon: Daemon
) -> None:
    window = visit(scripted_daemon)
    here, there = window.open(), window.open()
    engine.script.says("One, ", "two.", holds_after=1)
    send(here, "shared")
    expect(here.locator(".answer")).to_have_text("One,")
    there.locator("#list .open", has_text="shared").click()
    send(there, "meanwhile")
    expect(there.locator("#notice")).to_contain_text("Another tab")
    engine.script.go_on.set()
    answered(here)
    expect(here.locator(".answer")).to_have_text("One, two.")
    expect(there.locator(".answer")).to_have_text("One, two.")
    there.locator("#list .current .plain-button").last.click()
    expect(here.locator("#list li")).to_have_count(0)


def test_a_daemon_that_starts_again_is_noticed_and_used(
    visit: Any, engine: Engine, start_daemon: StartDaemon, tmp_path: Any
) -> None:
    config = scripted(engine)
    folder = tmp_path / "d"
    first = start_daemon(config, folder).ready("scripted")
    engine.script.says("Half", " an answer", holds_after=1)
    page = visit(first).open()
    send(page, "go")
    expect(page.locator(".answer")).to_have_text("Half")
    first.kill()
    expect(page.locator("#link-text")).to_have_text("Connection lost")
    expect(page.locator(".trouble")).to_contain_text("the proxy does not answer")
    engine.script.says("Back.")
    start_daemon(config, folder).ready("scripted")
    expect(page.locator("#link-text")).to_have_text("Live")
    page.get_by_label("Answer again").click()
    answered(page)
    expect(page.locator(".answer")).to_have_text("Back.")


def test_with_a_token_the_page_asks_for_it_once(visit: Any, engine: Engine, start_daemon: StartDaemon) -> None:
    server = {"auth": {"token_env": "PAGE_TOKEN"}}
    config, env = scripted(engine, server=server), {"PAGE_TOKEN": "a-long-enough-token-of-ours"}
    daemon = start_daemon(config, env=env).alive()
    window = visit(daemon)
    page = window.context.new_page()
    page.goto(daemon.url)
    page.locator("#token").fill("wrong")
    page.locator("#token").press("Enter")
    expect(page.locator("#token-error")).to_have_text("That token is not the one.")
    page.locator("#token").fill("a-long-enough-token-of-ours")
    page.locator("#token").press("Enter")
    send(page, "hello")
    answered(page)
    expect(page.locator(".answer")).to_have_text("Hello.")


def test_words_that_are_sent_before_the_models_are_known_wait_for_them(
    visit: Any, engine: Engine, scripted_daemon: Daemon
) -> None:
    page = visit(scripted_daemon).open()
    held: list[Any] = []
    page.route("**/api/tags", lambda route: held.append(route) if not held else route.continue_())
    page.evaluate("localStorage.clear()")
    page.reload()
    send(page, "hello")
    while not held:
        page.wait_for_timeout(20)
    expect(page.locator("#words")).to_have_value("hello")
    held[0].continue_()
    answered(page)
    expect(page.locator(".answer")).to_have_text("Hello.")


def test_conversations_are_searched_renamed_exported_and_deleted(
    visit: Any, engine: Engine, scripted_daemon: Daemon
) -> None:
    page = visit(scripted_daemon).open()
    for words in ("about pears", "about plums"):
        page.locator("#new").click()
        engine.script.says(f"All {words}.")
        send(page, words)
        answered(page)
    page.locator("#search").fill("all about PEARS")
    expect(page.locator("#list .open")).to_have_text(["about pears"])
    page.locator("#list li").hover()
    page.get_by_label("Rename about pears").click()
    page.get_by_label("New name").fill("Fruit <b>")
    page.get_by_label("New name").press("Enter")
    page.locator("#search").fill("")
    expect(page.locator("#list .open")).to_have_text(["about plums", "Fruit <b>"])
    page.locator("#list li").last.hover()
    with page.expect_download() as download:
        page.get_by_label("Export Fruit <b>").click()
    assert "All about pears." in download.value.path().read_text()
    page.locator("#list li").last.hover()
    page.get_by_label("Delete Fruit <b>").click()
    expect(page.locator("#list .open")).to_have_text(["about plums"])


def test_a_pasted_picture_is_shown_and_sent(
    visit: Any, daemon: Daemon, engine: Engine, scripted_daemon: Daemon
) -> None:
    page = visit(scripted_daemon).open()
    page.evaluate(
        """(base64) => {
            const bytes = Uint8Array.from(atob(base64), (each) => each.charCodeAt(0));
            const data = new DataTransfer();
            data.items.add(new File([bytes], "a.png", { type: "image/png" }));
            document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data }));
        }""",
        tiny_model.PIXEL,
    )
    expect(page.locator("#pictures img")).to_have_count(1)
    send(page, "what is this?")
    answered(page)
    expect(page.locator(".bubble img")).to_be_visible()
    parts = engine.script.asked[-1]["messages"][-1]["content"]
    assert [each["type"] for each in parts if each["type"] == "image_url"] == ["image_url"]


@pytest.mark.parametrize(("locale", "words"), [("de-DE", "Neuer Chat"), ("fr-FR", "Nouvelle discussion")])
def test_the_page_speaks_the_browser_s_language(visit: Any, scripted_daemon: Daemon, locale: str, words: str) -> None:
    page = visit(scripted_daemon, locale=locale).open()
    expect(page.locator("#new")).to_have_text(words)
    assert page.locator("html").get_attribute("lang") == locale[:2]
