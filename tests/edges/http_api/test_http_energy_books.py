"""GET /energy: the books of some days."""

import pytest

from ollama_proxyd.core.energy import Source
from ollama_proxyd.core.energy_books import Asked, Books, By, Cost, DeviceCost
from ollama_proxyd.core.energy_hours import EnergyHours, HourCost, ModeChange
from ollama_proxyd.core.energy_series import Part, Series
from ollama_proxyd.core.readings import Reading, SystemState
from ollama_proxyd.core.reasons import Reason
from tests.edges.http_api.conftest import Serve
from tests.fakes import FakeBackend, MemoryHistory

COST = Cost(
    "org.example.App",
    3,
    4,
    100,
    50,
    36.0,
    measured_j=36.0,
    error_j=3.6,
    saved_j=-7.0,
    compared=2,
    known_by="unit",
    spent={"EUR": 0.5},
)


class Told(MemoryHistory):
    """A history with fixed books, which keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Asked] = []

    async def books(self, asked: Asked) -> Books:
        self.asked.append(asked)
        return Books(asked, (COST,), (DeviceCost("gpu", "idle_tail", "estimated", 36.0, 18.0),))


async def test_it_tells_joules_percent_of_the_battery_and_idle_tails_beside_answers(serve: Serve) -> None:
    site = await serve(FakeBackend("npu"))
    site.services.history.store = Told()
    site.services.system.set(SystemState(battery_full_wh=Reading(0.1, 0.0)))
    told = (await site.get("/energy")).json
    row = told["rows"][0]
    assert (row["key"], row["known_by"], row["energy_joules"]) == ("org.example.App", "unit", 36.0)
    assert (row["battery_percent"], row["error_joules"], row["saved_joules"]) == (pytest.approx(10.0), 3.6, -7.0)
    assert (told["idle_tail_joules"], told["day_joules"], told["day_battery_percent"]) == (
        36.0,
        72.0,
        pytest.approx(20.0),
    )
    assert (told["idle_tail_source"], told["idle_tail_error_joules"]) == ("estimated", 18.0)
    assert (told["day_source"], told["day_error_joules"]) == ("estimated", pytest.approx(21.6))
    assert row["money_spent"] == {"EUR": 0.5} == told["total"]["money_spent"]
    assert told["unknown"] == {}


async def test_without_a_battery_percent_is_unknown_with_its_reason(serve: Serve) -> None:
    site = await serve(FakeBackend("npu"))
    site.services.history.store = Told()
    told = (await site.get("/energy")).json
    assert told["rows"][0]["battery_percent"] is None
    assert told["unknown"]["battery_percent"]["reason"]


async def test_days_are_local_ones_and_the_present_one_is_the_last(serve: Serve) -> None:
    site = await serve(FakeBackend("npu"))
    site.services.history.store = store = Told()
    await site.get("/energy?days=7&by=model")
    assert store.asked == [Asked("2027-01-09", "2027-01-15", By.MODEL)]


@pytest.mark.parametrize(
    "query", ["days=0", "days=367", "days=x", "days=" + "9" * 5000, "by=colour", "dayz=1", "days="]
)
async def test_a_wrong_question_is_refused_by_its_name(serve: Serve, query: str) -> None:
    site = await serve(FakeBackend("npu"))
    answer = await site.get(f"/energy?{query}")
    assert answer.status == 400
    assert query.partition("=")[0] in answer.json["error"]


async def test_a_history_in_trouble_is_told(serve: Serve) -> None:
    site = await serve(FakeBackend("npu"))
    assert isinstance(site.services.history.store, MemoryHistory)
    site.services.history.store.trouble = Reason("history_failed", detail="no space left")
    told = (await site.get("/energy")).json
    assert told["history"]["reason"] == "the history cannot be kept: no space left"
    assert (await site.get("/status")).json["history"]["reason_code"] == "history_failed"


async def test_the_hours_of_the_last_day_are_told_with_the_modes(serve: Serve) -> None:
    site = await serve(FakeBackend("npu"))

    class Hours(MemoryHistory):
        async def hours(self, since_s: float) -> EnergyHours:
            return EnergyHours(
                since_s, (HourCost(23, "npu", 36.0, Source.ATTRIBUTED, 9.0),), (ModeChange(since_s, "Auto", "Quiet"),)
            )

    site.services.history.store = Hours()
    told = (await site.get("/energy/hours")).json
    since_s = told["since_unix_seconds"]
    assert [each["backends"] for each in told["hours"]] == [{}] * 23 + [{"npu": 36.0}]
    assert (told["hours"][23]["energy_source"], told["hours"][23]["energy_error_joules"]) == ("attributed", 9.0)
    assert (told["hours"][0]["energy_source"], told["hours"][0]["energy_error_joules"]) == (None, 0)
    assert told["modes"] == [{"unix_seconds": since_s, "mode": "Auto", "effective_mode": "Quiet"}]
    assert told["history"]["reason"] is None


async def test_a_month_is_thirty_local_days_and_a_day_its_hours(serve: Serve) -> None:
    site = await serve(FakeBackend("npu"))
    asked: list[Asked] = []

    class Days(MemoryHistory):
        async def series(self, question: Asked) -> Series:
            asked.append(question)
            return Series(Books(question), (Part(0, "tiny", 3.0, Source.MEASURED, 0.5),))

    site.services.history.store = Days()
    month = (await site.get("/energy/series?over=month&by=model")).json
    assert asked[0] == Asked("2026-12-17", "2027-01-15", By.MODEL)
    assert [each["day"] for each in month["columns"]][::29] == ["2026-12-17", "2027-01-15"]
    assert month["columns"][0]["parts"] == {"tiny": 3.0}
    day = (await site.get("/energy/series")).json
    assert (asked[1].by, asked[1].until, len(day["columns"])) == (By.BACKEND, "2027-01-15", 24)
    assert day["columns"][0]["unix_seconds"] == asked[1].since_s
    assert day["unknown"]["battery_percent"]["reason"]


@pytest.mark.parametrize("query", ["over=year", "by=day", "by=colour", "days=3"])
async def test_a_wrong_time_or_part_is_refused_by_its_name(serve: Serve, query: str) -> None:
    site = await serve(FakeBackend("npu"))
    answer = await site.get(f"/energy/series?{query}")
    assert answer.status == 400
    assert query.partition("=")[0] in answer.json["error"]
