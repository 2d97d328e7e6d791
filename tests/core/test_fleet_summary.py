"""The line about the fleet."""

from ollama_proxyd.core.fleet import BackendView, Health
from ollama_proxyd.core.fleet_summary import expected, sentence, summarise
from ollama_proxyd.core.modes import DEFAULT_TABLE, Mode, ModeSetting
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.values import replace
from tests.fakes import spec_of
from tests.reasons import because


def said(
    *views: BackendView, chosen: Mode = Mode.BALANCED, effective: Mode | None = None, within: int | None = None
) -> str:
    setting = ModeSetting(chosen, effective or chosen, because("as chosen"), DEFAULT_TABLE[effective or chosen])
    return sentence(setting, "127.0.0.1:8080", summarise(views), summarise(views).up if within is None else within)


def view(backend_id: str, health: Health = Health.UP, degraded: Reason | None = None) -> BackendView:
    return BackendView(spec_of(backend_id), health, degraded=degraded)


def test_backends_that_are_switched_off_are_not_missed() -> None:
    views = (view("npu"), view("cpu", Health.DOWN), view("nvidia", Health.DISABLED))
    assert said(*views) == "Balanced: serving on 127.0.0.1:8080, 1 of 2 backends up"


def test_another_machine_that_is_away_is_not_missed() -> None:
    away = BackendView(spec_of("desktop/npu", machine="desktop"), Health.DOWN)
    assert said(view("npu"), away).endswith("1 of 1 backend up")
    assert said(view("npu"), replace(away, health=Health.UP)).endswith("2 of 2 backends up")
    assert expected((view("npu"), away)) == (view("npu"),)


def test_what_auto_takes_and_what_is_degraded_is_said() -> None:
    line = said(view("npu", degraded=because("slow")), chosen=Mode.AUTO, effective=Mode.QUIET)
    assert line == "Auto (Quiet now): serving on 127.0.0.1:8080, 1 of 1 backend up (1 degraded)"


def test_without_backends_it_says_what_to_start() -> None:
    assert said().endswith("no backend yet: start Ollama or llama-server")


def test_how_many_are_within_the_mode_is_told_unless_all_are() -> None:
    assert said(view("npu"), view("nvidia"), within=1).endswith("2 of 2 backends up, 1 within the mode")
    assert "within" not in said(view("npu"), view("nvidia"), within=2)


def test_one_change_is_counted_as_if_all_were_counted_anew() -> None:
    views = [view("npu"), view("cpu", Health.DOWN), view("nvidia", Health.DISABLED)]
    for now in (view("npu", Health.DOWN), view("npu", Health.DISABLED), view("npu", degraded=because("slow"))):
        for before in ("npu", "cpu", "nvidia"):
            at = ("npu", "cpu", "nvidia").index(before)
            changed = [*views[:at], now, *views[at + 1 :]]
            assert summarise(tuple(views)).after(views[at], now) == summarise(tuple(changed))
