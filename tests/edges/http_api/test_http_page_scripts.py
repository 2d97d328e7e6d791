"""What the page's scripts make of a status, asked of them in Node: the same words as in a terminal."""

import json
import re
import shutil
import subprocess
from typing import Any

import pytest

from ollama_proxyd.cli.amounts import energy
from ollama_proxyd.core.energy import Source
from ollama_proxyd.core.energy_books import Books, books_fields
from ollama_proxyd.core.features import WORDS
from ollama_proxyd.core.modes import DEFAULT_TABLE
from ollama_proxyd.core.readings import Reading, Unavailable
from ollama_proxyd.edges.http_api.pages import FOLDER
from tests.cli.test_cli_energy import ROWS, TAIL, WEEK
from tests.edges.http_api.conftest import Serve
from tests.fakes import FakeBackend

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")

BROWSER = """
globalThis.document = {addEventListener() {}, hidden: false};
globalThis.window = document;
globalThis.localStorage = {getItem: () => null};
Object.defineProperty(globalThis, "navigator", {value: {languages: ["en-GB"]}, configurable: true});
"""
BACKEND = {"enabled": True, "health": "up", "in_flight": 0, "too_hot": None, "asleep": None, "reason": None}


def run(module: str, expression: str, language: str = "en-GB") -> Any:
    """What an expression gives, with `it` for the exports of a script, in a browser of that language."""
    program = (
        f"{BROWSER.replace('en-GB', language)} const it = await import({json.dumps((FOLDER / module).as_uri())});"
        f"console.log(JSON.stringify({expression}));"
    )
    done = subprocess.run(
        ["node", "--no-warnings", "--experimental-detect-module", "--input-type=module", "-e", program],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_backend_s_state_is_one_word_whatever_it_does() -> None:
    states = [
        {**BACKEND, "enabled": False, "health": "disabled"},
        {**BACKEND, "health": "down"},
        {**BACKEND, "health": "unknown"},
        {**BACKEND, "in_flight": 2, "too_hot": True},
        {**BACKEND, "too_hot": True},
        {**BACKEND, "asleep": True},
        {**BACKEND, "in_flight": 1, "reason": "the engine fell back to the CPU"},
        BACKEND,
    ]
    told = run("words.js", f"{json.dumps(states)}.map((each) => it.state(each).word)")
    assert told == ["switched off", "down", "not checked yet", "serving 2", "too hot", "asleep", "degraded", "ready"]


def test_a_backend_that_its_rate_limit_keeps_from_requests_is_not_called_ready() -> None:
    resting = {**BACKEND, "resting_until_unix_seconds": 1800000000}
    word = run("words.js", f"it.state({json.dumps(resting)}).word")
    assert re.fullmatch(r"resting until \d\d?:\d\d:\d\d( [AP]M)?", word)


def test_a_backend_that_the_mode_uses_last_is_not_called_ready_nor_counted_among_the_first() -> None:
    outside = {**BACKEND, "outside_mode": {"reason": "not in this mode: 55 W > 15 W"}}
    said = run("words.js", f"it.state({json.dumps(outside)})")
    assert (said["word"], said["lang"]) == ("not in this mode: 55 W > 15 W", "en")
    told = run("words.js", f"[it.serving({json.dumps([BACKEND, outside])}), it.serving({json.dumps([BACKEND])})]")
    assert told == [
        "2 of 2 can serve; 1 of 2 are within this mode, the others serve only if these cannot",
        "1 of 1 can serve",
    ]


def test_the_queue_is_one_line_and_nothing_where_nothing_waits() -> None:
    none: dict[str, Any] = {"by_priority": {"normal": 0}, "oldest_wait_seconds": None, "deferred": 0}
    queues = [
        none,
        {**none, "by_priority": {"best-effort": 2, "normal": 1, "high": 0}, "oldest_wait_seconds": 12.34},
        {**none, "deferred": 3},
    ]
    assert run("words.js", f"{json.dumps(queues)}.map(it.queue)") == [
        "",
        "Waiting: 1 normal, 2 best-effort, the oldest for 12.3 s",
        "Waiting: 3 for the charger",
    ]


def test_guessed_watts_are_called_a_guess() -> None:
    why = {"rated_power_watts": {"reason_details": {"power_watts": 15.0}}}
    told = [{"rated_power_watts": None, "unknown": why}, {"rated_power_watts": None, "unknown": {}}]
    assert run("words.js", f"{json.dumps(told)}.map((each) => it.rated(each))") == ["about 15 W, guessed", ""]


def test_what_was_saved_is_told_as_in_a_terminal() -> None:
    days = [
        {"requests": 3, "compared": None, "saved_joules": None},
        {"requests": 3, "compared": 3, "saved_joules": 5040.0},
        {"requests": 3, "compared": 2, "saved_joules": -36.0},
        {"requests": 3, "compared": 3, "saved_joules": 0.0},
    ]
    assert run("words.js", f"{json.dumps(days)}.map((day) => it.saved(day)?.text ?? null)") == [
        None,
        "1.4 Wh saved against Performance.",
        "0.01 Wh more than under Performance, over 2 requests.",
        "Nothing saved against Performance.",
    ]


@pytest.mark.parametrize("joules", [0.0, 0.001, -0.001, 1.0, 36.0, -36.0, 5040.0, 720000.0])
def test_sums_of_energy_have_the_units_that_they_have_in_a_terminal(joules: float) -> None:
    assert run("words.js", f"it.energy({joules})") == energy(joules)


def test_a_sum_says_from_where_it_is_known_and_how_far_it_may_be_wrong() -> None:
    day = {"energy_source": "attributed", "energy_joules": 40.0, "energy_error_joules": 6.0}
    nothing = {"energy_source": "estimated", "energy_joules": 0.0, "energy_error_joules": 0.0}
    assert run("words.js", f"{json.dumps([day, nothing])}.map((each) => it.known(each, 'energy'))") == [
        "attributed ±15 %",
        "estimated",
    ]


def test_the_days_budget_and_what_power_saver_brought_are_a_line_each_where_there_is_any() -> None:
    none = {"limit_watt_hours": None, "spent_watt_hours": 1.2, "reason": None, "incomplete": None}
    some = {**none, "limit_watt_hours": 20.0}
    budgets = [none, some, {**some, "reason": "today's 20 Wh are spent"}]
    assert run("words.js", f"{json.dumps(budgets)}.map(it.budget)") == [
        "",
        "1.2 of 20 Wh of the day's budget.",
        "1.2 of 20 Wh of the day's budget; today's 20 Wh are spent.",
    ]
    savers = [{"held": False, "answers": 0, "saved_joules": 0.0}, {"held": True, "answers": 2, "saved_joules": 36.0}]
    assert run("words.js", f"{json.dumps(savers)}.map(it.powerSaver)") == [
        "",
        "Profile power-saver: held now; 0.01 Wh saved by 2 answers since the start, measured.",
    ]


def test_the_books_have_the_rows_that_they_have_in_a_terminal() -> None:
    told = books_fields(Books(WEEK, ROWS, (TAIL,)), Reading(57.0, 0.0), None)
    assert run("words.js", f"it.books({json.dumps(told)})") == {
        "heads": ["Program", "Energy", "of the battery", "Money", "Answers", "Known"],
        "rows": [
            ["org.gnome.Chat", "1.24 Wh", "2.2 %", "", "31", "measured ±10 %"],
            ["aider, by its own word", "5.6 mWh", "<0.1 %", "0.021 EUR", "2", "estimated ±50 %"],
            ["not known", "0 Wh", "0 %", "", "1", ""],
            ["idle, models in memory", "0.4 Wh", "0.7 %", "", "", "estimated ±50 %"],
            ["together", "1.65 Wh", "2.9 %", "0.021 EUR", "34", "estimated ±20 %"],
        ],
        "notes": [],
    }


def test_books_without_a_battery_say_why_they_have_no_percent() -> None:
    told = books_fields(Books(WEEK, ROWS), Unavailable.because("no_battery"), None)
    shown = run("words.js", f"it.books({json.dumps(told)})")
    assert "of the battery" not in shown["heads"]
    assert shown["notes"] == ["Percent of the battery: unknown: this machine has no battery."]


def test_what_services_took_is_told_by_currency() -> None:
    days: list[dict[str, dict[str, float]]] = [{"money_spent": {}}, {"money_spent": {"USD": 0.01234, "EUR": 2.5}}]
    assert run("words.js", f"{json.dumps(days)}.map(it.spent)") == ["", "0.0123 USD, 2.5 EUR"]


def test_what_the_machine_does_not_say_is_no_zero() -> None:
    system = dict.fromkeys(
        ("on_battery", "battery_percent", "power_profile", "hottest_celsius", "fan_percent", "quiet_hours", "games")
    )
    rows = run(
        "words.js", f"it.machine({json.dumps({**system, 'unknown': {'hottest_celsius': {'reason': 'no sensor'}}})})"
    )
    assert [row[1] for row in rows] == [None] * 5
    assert [row[2] for row in rows] == [None] * 5
    assert rows[2] == ["Heat", None, None, {"reason": "no sensor"}]


def test_events_are_read_however_they_are_cut_and_signs_of_life_are_no_events() -> None:
    text = 'data: {"mode":"Quiet"}\n\n: nothing new\n\ndata: {"mode":"Auto"}\n\nda'
    for cut in range(1, len(text)):
        pieces = json.dumps([text[:cut], text[cut:]])
        told = run_stream(pieces) if cut in {1, 5, 22, 23, 24, 25, 40, len(text) - 1} else None
        assert told in (None, [["Quiet", "Auto"], "da"])


def run_stream(pieces: str) -> Any:
    expression = (
        "(() => { const told = []; const stream = new it.Stream({told: (each) => told.push(each.mode)}); let rest = '';"
        f"for (const piece of {pieces}) rest = stream.take(rest + piece); return [told, rest]; }})()"
    )
    return run("stream.js", expression)


def test_an_error_in_the_stream_is_told() -> None:
    expression = (
        "(() => { const stream = new it.Stream({}); try { stream.take('event: error\\ndata: "
        '{"error":"a token is needed"}\\n\\n\'); } catch (error) { return error.message; } })()'
    )
    assert run("stream.js", expression) == "a token is needed"


def hours(**changed: Any) -> dict[str, Any]:
    costs = [{"npu": 18.0, "igpu": 90.0}, *[{}] * 22, {"npu": 36.0}]
    rows = [
        {"unix_seconds": 3600.0 * at, "energy_joules": sum(each.values()), "energy_error_joules": 5.0, "backends": each}
        for at, each in enumerate(costs)
    ]
    modes = [
        {"unix_seconds": -60.0, "mode": "Auto", "effective_mode": "Balanced"},
        {"unix_seconds": 43200.0, "mode": "Quiet", "effective_mode": "Quiet"},
    ]
    return {"since_unix_seconds": 0.0, "hours": rows, "modes": modes, "history": {"reason": None}, **changed}


def view(told: dict[str, Any]) -> dict[str, Any]:
    seen = run("chart.js", f"it.hoursView({json.dumps(told)}, 82800, joules => `${{joules}} J`)")
    assert isinstance(seen, dict)
    return seen


def test_the_chart_stacks_the_backends_of_each_hour_the_costliest_of_the_day_lowest() -> None:
    seen = view(hours())
    assert seen["says"] == "144 J ± 120 J for answers, at most 108 J an hour"
    assert [(each["id"], each["text"]) for each in seen["parts"]] == [("igpu", "90 J"), ("npu", "54 J")]
    first, *empty, last = seen["bars"]
    assert sum(part["height"] for part in first["parts"]) == 100
    assert first["parts"][0]["y"] + first["parts"][0]["height"] == 100
    assert all(each["parts"] == [] for each in empty)
    assert last["x"] == 230


def test_the_chart_has_a_stretch_for_each_mode_until_the_next_or_now() -> None:
    stretches = view(hours())["modes"]
    assert [(each["mode"], each["x"], each["width"]) for each in stretches] == [
        ("Balanced", 0, 120),
        ("Quiet", 120, 110),
    ]


def test_an_empty_chart_says_why() -> None:
    none = [{**each, "energy_joules": 0, "backends": {}} for each in hours()["hours"]]
    assert view(hours(hours=none))["says"] == "No answers in these hours"
    assert view(hours(hours=none, history={"reason": "the history is off"}))["says"] == "the history is off"


async def test_what_a_real_status_says_is_put_in_words_without_a_gap(serve: Serve) -> None:
    site = await serve(FakeBackend("npu"), FakeBackend("nvidia"))
    status = json.dumps((await site.get("/status")).json)
    words = (
        f"(s => [s.modes.map(it.about), s.backends.map(it.state), s.backends.map(it.rated), it.serving(s.backends), "
        f"it.queue(s.queue), it.saved(s.today), it.spent(s.today), it.machine(s.system)])({status})"
    )
    told = json.dumps(run("words.js", words))
    assert "waits up to" in told
    assert not {"undefined", "NaN"} & set(told.replace('"', " ").split())


def sentences() -> set[str]:
    """What the pages say in the person's language: in the markup and by `t`."""
    found: set[str] = set()
    for path in FOLDER.iterdir():
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".js":
            found |= set(re.findall(r'\bt\("([^"]*)"', text))
            found |= {one or two for one, two in re.findall(r'button\("\w+", "([^"]+)"|label: "([^"]+)"', text)}
        if path.suffix == ".html":
            found |= {each.strip() for each in re.findall(r"data-t>([^<]+)<", text)}
            for tag in re.findall(r"<[^>]*data-t-label[^>]*>", text):
                found |= set(re.findall(r'(?:aria-label|placeholder|title)="([^"]+)"', tag))
    return found


@pytest.mark.parametrize("language", ["de", "fr"])
def test_every_sentence_has_its_translation_with_the_same_values_and_none_is_left_over(language: str) -> None:
    table = run(f"{language}.js", "it.default")
    from_server = {"The proxy does not answer", "The proxy has ended the connection", *(each.value for each in Source)}
    from_server |= {word for each in WORDS.values() for word in each}
    from_server |= {word for row in DEFAULT_TABLE.values() for word in (row.label, row.description)}
    assert set(table) == sentences() | from_server
    for sentence, translated in table.items():
        assert set(re.findall(r"\{\w+\}", sentence)) == set(re.findall(r"\{\w+\}", translated)), sentence
