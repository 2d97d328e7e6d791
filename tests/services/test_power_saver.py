"""power-saver is wanted while a thrifty mode's answer runs that was measured to cost less under it."""

import pytest

from ollama_proxyd.core.attempts import AttemptBegun, AttemptEnded
from ollama_proxyd.core.energy import Energy, Source
from ollama_proxyd.core.events import Usage
from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.power_saver import PowerSaverSettings
from ollama_proxyd.core.readings import Reading, SystemState
from ollama_proxyd.core.requests import Operation
from ollama_proxyd.services.power_saver import PowerSaver
from ollama_proxyd.services.tasks import Tasks
from tests.fakes import FakeBackend, FakeClock, services_of, settle

TOKENS = 100


class Bench:
    """A saver with a machine whose profile a test chooses, and answers that cost what it says."""

    def __init__(self, mode: Mode) -> None:
        self._mode = mode
        self.clock = FakeClock()

    async def start(self, tasks: Tasks, *, is_on: bool = True) -> "Bench":
        self._services = await services_of(FakeBackend("igpu"), mode=self._mode, clock=self.clock)
        self.saver: PowerSaver = self._services.power_saver
        self.saver.reconfigure(PowerSaverSettings(hold=is_on))
        self.saver.follow(self._services.system, tasks)
        await self.profile("balanced")
        return self

    async def profile(self, name: str) -> None:
        self._services.system.set(SystemState(power_profile=Reading(name, self.clock.monotonic())))
        await settle()
        self.clock.advance(10)

    def begin(self) -> float:
        self._services.fleet.sent.publish(AttemptBegun("igpu", "tiny", None))
        return self.clock.monotonic()

    def end(self, begun_s: float, token_j: float, source: Source = Source.MEASURED) -> None:
        self.clock.advance(1)
        ended = AttemptEnded(
            "igpu", "tiny", Operation.CHAT, "r", begun_s, self.clock.monotonic(),
            usage=Usage(10, TOKENS), energy=Energy(decode_j=token_j * TOKENS, source=source),
        )  # fmt: skip
        self._services.fleet.attempts.publish(ended)
        self._services.energy.booked.publish(ended)

    def answer(self, token_j: float, source: Source = Source.MEASURED) -> bool:
        """One whole answer; whether the profile was wanted for it. The hold comes as soon as it is."""
        begun_s = self.begin()
        if was_wanted := self.saver.is_wanted.value:
            self.saver.held()
        self.end(begun_s, token_j, source)
        if was_wanted:
            self.saver.let_go()
            self.clock.advance(10)
        return was_wanted

    def answers(self, *costs_j: float) -> list[bool]:
        return [self.answer(each) for each in costs_j]


@pytest.fixture
async def bench() -> Bench:
    return Bench(Mode.EFFICIENCY)


async def test_it_is_tried_twice_and_held_on_where_a_token_costs_less(bench: Bench) -> None:
    async with Tasks("test") as tasks:
        await bench.start(tasks)
        assert bench.answers(1.0, 1.0, 0.8, 0.8, 0.8) == [False, False, True, True, True]
        assert bench.saver.answers == 3
        assert bench.saver.saved_j == pytest.approx(3 * 0.2 * TOKENS)
        assert not bench.saver.is_wanted.value


async def test_where_it_costs_more_it_is_left_alone(bench: Bench) -> None:
    async with Tasks("test") as tasks:
        await bench.start(tasks)
        assert bench.answers(1.0, 1.0, 1.2, 1.2, 1.0, 1.0) == [False, False, True, True, False, False]
        assert bench.saver.saved_j < 0


@pytest.mark.parametrize("mode", [Mode.PERFORMANCE, Mode.BALANCED, Mode.AUTO])
async def test_only_thrifty_modes_that_were_chosen_hold_it(mode: Mode) -> None:
    async with Tasks("test") as tasks:
        bench = await Bench(mode).start(tasks)
        assert not any(bench.answers(1.0, 1.0, 1.0))


@pytest.mark.parametrize("profile", ["performance", "power-saver"])
async def test_another_choice_of_the_person_counts(bench: Bench, profile: str) -> None:
    async with Tasks("test") as tasks:
        await bench.start(tasks)
        bench.answers(1.0, 1.0)
        await bench.profile(profile)
        assert not bench.answer(1.0)


async def test_estimates_teach_nothing_and_so_hold_nothing(bench: Bench) -> None:
    async with Tasks("test") as tasks:
        await bench.start(tasks)
        assert not any(bench.answer(1.0, Source.ESTIMATED) for _ in range(4))


async def test_switched_off_it_wants_nothing(bench: Bench) -> None:
    async with Tasks("test") as tasks:
        await bench.start(tasks, is_on=False)
        assert not any(bench.answers(1.0, 1.0, 1.0))
        bench.saver.reconfigure(PowerSaverSettings(hold=True))
        bench.answers(1.0, 1.0)
        bench.begin()
        assert bench.saver.is_wanted.value
        bench.saver.reconfigure(PowerSaverSettings(hold=False))
        assert not bench.saver.is_wanted.value


async def test_an_answer_that_ends_while_it_is_off_is_not_taken_to_run_once_it_is_on_again(bench: Bench) -> None:
    async with Tasks("test") as tasks:
        await bench.start(tasks)
        bench.answers(1.0, 1.0)
        begun_s = bench.begin()
        assert bench.saver.is_wanted.value
        bench.saver.reconfigure(PowerSaverSettings(hold=False))
        bench.end(begun_s, 1.0)
        bench.saver.reconfigure(PowerSaverSettings(hold=True))
        assert not bench.saver.is_wanted.value


async def test_a_person_who_chose_meanwhile_is_not_overruled_until_they_choose_once_more(bench: Bench) -> None:
    async with Tasks("test") as tasks:
        await bench.start(tasks)
        bench.answers(1.0, 1.0)
        bench.begin()
        bench.saver.held()
        await bench.profile("power-saver")
        bench.saver.overruled("balanced")
        assert not bench.saver.is_wanted.value
        for profile in ("power-saver", "balanced"):
            await bench.profile(profile)
            assert not bench.saver.is_wanted.value
        for profile in ("performance", "balanced"):
            await bench.profile(profile)
        assert bench.saver.is_wanted.value


async def test_an_answer_that_ran_under_both_profiles_teaches_nothing(bench: Bench) -> None:
    async with Tasks("test") as tasks:
        await bench.start(tasks)
        begun_s = bench.begin()
        await bench.profile("performance")
        await bench.profile("balanced")
        bench.end(begun_s, 1.0)
        assert bench.answers(1.0, 1.0, 1.0) == [False, False, True]


async def test_of_many_answers_the_last_to_end_gives_it_back(bench: Bench) -> None:
    async with Tasks("test") as tasks:
        await bench.start(tasks)
        bench.answers(1.0, 1.0)
        begun = [bench.begin() for _ in range(20)]
        bench.saver.held()
        for begun_s in begun:
            assert bench.saver.is_wanted.value
            bench.end(begun_s, 0.5)
        assert not bench.saver.is_wanted.value
