"""What people do to the chat: no storage, a full disk, odd files, many conversations at once, back and forth."""

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.browser.conftest import Engine, answered, send
from tests.e2e.harness import Daemon

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("browser"), pytest.mark.timeout(120)]
FORBIDDEN = """for (const name of ["localStorage", "sessionStorage", "indexedDB"])
    Object.defineProperty(window, name, { get() { throw new DOMException("it is forbidden", "SecurityError"); } });"""
_GIVE = """([kind, files]) => {
    const data = new DataTransfer();
    for (const [name, type, text] of files) data.items.add(new File([text], name, { type }));
    const event = kind === "paste"
        ? new ClipboardEvent("paste", { clipboardData: data, cancelable: true })
        : new DragEvent("drop", { dataTransfer: data, cancelable: true });
    document.dispatchEvent(event);
    return event.defaultPrevented;
}"""
_DROP_WORDS = """() => {
    const data = new DataTransfer();
    data.setData("text/plain", "words");
    return ["dragover", "drop"].map((kind) => {
        const event = new DragEvent(kind, { dataTransfer: data, cancelable: true, bubbles: true });
        document.querySelector("#words").dispatchEvent(event);
        return event.defaultPrevented;
    });
}"""
_HOLD_THE_STORE = """() => new Promise((held) => {
    indexedDB.open("ollama-proxyd").onsuccess = ({ target }) => {
        const store = target.result.transaction(["heads", "bodies"], "readwrite").objectStore("heads");
        const again = () => { if (!window.isLetGo) store.count().onsuccess = again; };
        store.count().onsuccess = () => { again(); held(); };
    };
})"""


def test_a_browser_that_may_keep_nothing_chats_and_says_so(visit: Any, engine: Engine, scripted_daemon: Daemon) -> None:
    window = visit(scripted_daemon)
    window.context.add_init_script(FORBIDDEN)
    page = window.open()
    send(page, "one")
    answered(page)
    expect(page.locator(".answer")).to_have_text("Hello.")
    expect(page.locator("#notice")).to_contain_text("does not keep the conversation: it is forbidden")
    send(page, "two")
    answered(page)
    expect(page.locator(".answer")).to_have_text(["Hello.", "Hello."])
    other = window.open("/ui/settings")
    expect(other.locator("#quiet_hours_start")).to_have_value("22:00")


def test_a_full_disk_is_told_and_the_answer_stays_on_the_page(
    visit: Any, engine: Engine, scripted_daemon: Daemon
) -> None:
    window = visit(scripted_daemon)
    page = window.open()
    storage = {"origin": scripted_daemon.url, "quotaSize": 1000}
    window.context.new_cdp_session(page).send("Storage.overrideQuotaForOrigin", storage)
    send(page, "a large message " * 5000)
    answered(page)
    expect(page.locator("#notice")).to_have_text("This browser does not keep the conversation: its storage is full")
    expect(page.locator(".answer")).to_have_text("Hello.")


def test_only_pictures_are_taken_and_what_is_left_out_is_told(
    visit: Any, engine: Engine, scripted_daemon: Daemon
) -> None:
    page = visit(scripted_daemon).open()
    notice = page.locator("#notice")
    for kind, file in (
        ("paste", ["a.svg", "image/svg+xml", "<svg onload='window.hit = 1'/>"]),
        ("drop", ["a.pdf", "application/pdf", "%PDF"]),
        ("drop", ["a.html", "text/html", "<script>window.hit = 1</script>"]),
        ("drop", ["a", "", "?"]),
    ):
        page.evaluate("document.querySelector('#notice').textContent = ''")
        page.evaluate(_GIVE, [kind, [file]])
        expect(notice).to_have_text("Only pictures can be added: PNG, JPEG, WebP or GIF.")
    page.evaluate(_GIVE, ["paste", [["a.png", "image/png", "no picture at all"]]])
    expect(notice).to_contain_text("That did not work")
    expect(page.locator("#pictures")).to_be_hidden()
    assert page.evaluate("window.hit") is None
    assert page.evaluate(_DROP_WORDS) == [False, False]


def test_a_paste_that_would_keep_the_browser_busy_for_minutes_is_refused(
    visit: Any, engine: Engine, scripted_daemon: Daemon
) -> None:
    page = visit(scripted_daemon).open()
    paste = """(letters) => {
        const data = new DataTransfer();
        data.setData("text/plain", "w".repeat(letters));
        const event = new ClipboardEvent("paste", { clipboardData: data, cancelable: true, bubbles: true });
        document.querySelector("#words").dispatchEvent(event);
        return event.defaultPrevented;
    }"""
    assert [page.evaluate(paste, letters) for letters in (1_000_000, 5_000_000)] == [False, True]
    expect(page.locator("#notice")).to_have_text("At most 4,000,000 characters can be pasted.")


def test_a_reload_shows_the_same_conversation_and_going_back_the_one_before(
    visit: Any, engine: Engine, scripted_daemon: Daemon
) -> None:
    page = visit(scripted_daemon).open("/chat")
    for words in ("first", "second"):
        page.locator("#new").click()
        send(page, words)
        answered(page)
    page.reload()
    expect(page.locator(".bubble")).to_have_text("second")
    page.go_back()
    expect(page.locator("#welcome")).to_be_visible()
    page.go_back()
    expect(page.locator(".bubble")).to_have_text("first")
    page.go_forward()
    page.go_forward()
    expect(page.locator(".bubble")).to_have_text("second")
    page.get_by_role("link", name="Models").click()
    page.locator("#models").wait_for()
    page.go_back()
    expect(page.locator(".bubble")).to_have_text("second")
    page.evaluate("location.hash = 'of-no-conversation'")
    page.reload()
    expect(page.locator("#welcome")).to_be_visible()


def rendered(page: Page) -> list[str]:
    """The texts that the proxy is asked to render, from now on."""
    told: list[str] = []
    page.on("request", lambda request: told.append(str(request.post_data)) if "/ui/render" in request.url else None)
    return told


def test_what_was_answered_before_is_not_rendered_again(visit: Any, engine: Engine, scripted_daemon: Daemon) -> None:
    page = visit(scripted_daemon).open()
    engine.script.says("An *early* answer.")
    send(page, "one")
    answered(page)
    expect(page.locator(".answer em")).to_have_text("early")
    told = rendered(page)
    engine.script.says("A *late* answer.")
    send(page, "two")
    answered(page)
    expect(page.locator(".answer em")).to_have_text(["early", "late"])
    assert [each for each in told if "early" in each] == []


def test_what_is_asked_does_not_wait_until_it_is_kept(visit: Any, engine: Engine, scripted_daemon: Daemon) -> None:
    window = visit(scripted_daemon)
    page, other = window.open(), window.open("/dashboard")
    other.evaluate(_HOLD_THE_STORE)
    send(page, "one")
    expect(page.locator(".answer")).to_have_text("Hello.")
    other.evaluate("window.isLetGo = true")
    answered(page)
    expect(page.locator("#list .open")).to_have_text("one")


def test_leaving_a_name_as_it_was_stops_no_answer(visit: Any, engine: Engine, scripted_daemon: Daemon) -> None:
    page = visit(scripted_daemon).open()
    engine.script.says("One, ", "two.", holds_after=1)
    send(page, "go")
    expect(page.locator(".answer")).to_have_text("One,")
    page.get_by_label("Rename go").click()
    page.get_by_label("New name").press("Escape")
    expect(page.get_by_label("New name")).to_have_count(0)
    engine.script.go_on.set()
    answered(page)
    expect(page.locator(".answer")).to_have_text("One, two.")


MANY = 20


def test_many_conversations_are_answered_at_once_and_leave_the_page_its_connections(
    visit: Any, engine: Engine, scripted_daemon: Daemon
) -> None:
    page = visit(scripted_daemon).open()
    engine.script.says("A *first* word, ", "the last.", holds_after=1)
    for number in range(MANY):
        page.locator("#new").click()
        send(page, f"number {number}")
    expect(page.locator("#list .open")).to_have_count(MANY)
    page.locator("#list .open", has_text="number 0").click()
    expect(page.locator(".answer em")).to_have_text("first")
    page.locator("#mode").select_option("Efficiency")
    expect(page.locator("#mode")).to_have_value("Efficiency")
    page.locator("#list .open", has_text=f"number {MANY - 1}").click()
    expect(page.locator(".figures-line")).to_contain_text("waits for its turn")
    page.locator("#stop").click()
    expect(page.locator(".trouble")).to_have_text("Stopped.")
    engine.script.go_on.set()
    for number in (0, 7, MANY - 2):
        page.locator("#list .open").filter(has_text=f"number {number}").last.click()
        answered(page)
        expect(page.locator(".answer")).to_have_text("A first word, the last.")
    page.locator("#mode").select_option("Balanced")


def test_more_pages_than_a_browser_opens_connections_all_follow_the_status(
    visit: Any, engine: Engine, scripted_daemon: Daemon
) -> None:
    window = visit(scripted_daemon)
    pages = [window.open(path) for path in ("/chat", "/dashboard", "/ui/models", "/ui/energy") * 2]
    for mode in ("Quiet", "Balanced"):
        scripted_daemon.post("/efficiency", {"mode": mode})
        for page in (pages[0], pages[4]):
            expect(page.locator("#mode")).to_have_value(mode)
        for page in (pages[1], pages[5]):
            expect(page.locator("#mode-title")).to_have_text(mode)
        pages.pop(0).close()
        pages.insert(0, window.open("/chat"))
    send(pages[0], "hello")
    answered(pages[0])
