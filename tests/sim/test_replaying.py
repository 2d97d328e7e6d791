"""Days that were kept are played again, and what they say of other modes is what those would have shown."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from ollama_proxyd.core.history import MakeRow, Row
from ollama_proxyd.core.modes import Mode
from ollama_proxyd.edges.storage.history import NoHistory
from ollama_proxyd.sim import product
from ollama_proxyd.sim.machines import LAPTOP
from ollama_proxyd.sim.paces import FAST_TPS, measured_pace
from ollama_proxyd.sim.play import play
from ollama_proxyd.sim.product import Product
from ollama_proxyd.sim.replaying import MOST_REQUESTS, compared, replay_of
from ollama_proxyd.sim.traffic import Traffic

DAY = Traffic(LAPTOP.chats, hours=1.0, programs=("chat", "embed"))


def plain(row: Row) -> dict[str, Any]:
    """The row as the file gives it back."""
    empty = dict.fromkeys(("alternatives", "predicted", "effective_mode"))
    written = {key: json.dumps(each) if isinstance(each, list | dict) else each for key, each in row.values.items()}
    return {**empty, **written}


@pytest.fixture(scope="module")
def kept() -> Mapping[str, Sequence[dict[str, Any]]]:
    """What the history has of an hour in Performance."""
    made: list[Row] = []

    class Kept(NoHistory):
        def add(self, rows: Sequence[MakeRow]) -> None:
            made.extend(make() for make in rows)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(product, "NoHistory", Kept)
        play(LAPTOP, DAY, Product(Mode.PERFORMANCE), seed=1)
    return {table: [plain(row) for row in made if row.table == table] for table in ("requests", "attempts")}


def test_it_foretells_what_another_mode_truly_costs(kept: Mapping[str, Sequence[dict[str, Any]]]) -> None:
    replay = replay_of(kept["requests"], kept["attempts"])
    assert replay is not None
    found = compared(replay, [Mode.BALANCED, Mode.PERFORMANCE])
    balanced, performance = found["rows"]
    truth = {mode: play(LAPTOP, DAY, Product(mode), seed=1)[0] for mode in (Mode.BALANCED, Mode.PERFORMANCE)}
    change = 100 * (truth[Mode.BALANCED].energy_j / truth[Mode.PERFORMANCE].energy_j - 1)
    assert balanced["energy_percent"] == pytest.approx(change, abs=10)
    assert balanced["waiting_percent"] > 0
    assert performance["energy_percent"] == pytest.approx(0, abs=1)
    assert found["requests"] == found["found"] == len(kept["requests"])


def test_what_is_not_known_is_told(kept: Mapping[str, Sequence[dict[str, Any]]]) -> None:
    failed = {**kept["requests"][0], "result": "upstream_failed"}
    replay = replay_of([*kept["requests"], failed], kept["attempts"])
    assert replay is not None
    assert replay.unknown[0].startswith(f"1 of {len(kept['requests']) + 1} requests")
    assert any("never answered with" in each for each in replay.unknown)


def test_an_answer_from_the_cache_would_have_cost_nothing_in_any_mode(
    kept: Mapping[str, Sequence[dict[str, Any]]],
) -> None:
    given = {**kept["requests"][0], "result": "cached", "energy_j": None}
    replay, without = replay_of([*kept["requests"], given], kept["attempts"]), replay_of(*kept.values())
    assert replay is not None
    assert without is not None
    assert (len(replay.modes), replay.recorded_j) == (len(without.modes), without.recorded_j)


def test_a_long_time_is_played_in_seconds(kept: Mapping[str, Sequence[dict[str, Any]]]) -> None:
    weeks = [{**row, "unix_s": row["unix_s"] + 7 * 86_400 * at} for at in range(40) for row in kept["requests"]]
    replay = replay_of(weeks, kept["attempts"])
    assert replay is not None
    jobs = replay.jobs()
    assert len(jobs) == min(MOST_REQUESTS, len(weeks))
    assert jobs[-1].at_s < 40 * 2 * 3600


def answer_of(prompt: int, read_s: float) -> dict[str, Any]:
    return {
        "prompt_tokens": prompt,
        "cached_tokens": 0,
        "completion_tokens": 11,
        "prompt_s": read_s,
        "decode_s": 0.5,
    } | {
        "load_s": 0.0,
        "busy_s": read_s + 0.5,
    }


def test_what_each_prompt_takes_however_short_is_not_taken_for_its_tokens() -> None:
    short, long = [answer_of(each, 0.1 + each / 1000) for each in (18, 20, 22)], answer_of(2000, 2.1)
    pace = measured_pace([*short, long])
    assert (pace.first_s, pace.prefill_tps, pace.token_s) == (
        pytest.approx(0.1),
        pytest.approx(1000),
        pytest.approx(0.05),
    )


@pytest.mark.parametrize("read_s", [0.12, 0.11])
def test_where_long_prompts_take_no_longer_it_is_all_spent_on_each(read_s: float) -> None:
    pace = measured_pace([answer_of(20, 0.12), answer_of(2000, read_s)])
    assert pace.first_s == pytest.approx(0.12)
    assert pace.prefill_tps == FAST_TPS


def test_prompts_of_one_length_are_taken_to_cost_by_the_token() -> None:
    pace = measured_pace([answer_of(each, each / 500) for each in (100, 110, 120)])
    assert (pace.first_s, pace.prefill_tps) == (0.0, pytest.approx(500))


@pytest.mark.parametrize("rows", [[], [{"result": "ok", "model": None}]])
def test_from_nothing_nothing_is_told(rows: list[dict[str, Any]]) -> None:
    assert replay_of(rows, []) is None
